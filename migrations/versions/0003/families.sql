-- In what the two families differ: the parts that are filled into buckets.sql and newest.sql.

-- block: occupancy.events
occupancy_events

-- block: occupancy.event_column
occupied_count

-- block: occupancy.stored_column
last_count

-- block: occupancy.columns
occupied_min, occupied_max, car_seconds, known_seconds

-- block: occupancy.of_event
e.occupied_count, e.occupied_count, 0, 0

-- block: occupancy.unknown
NULL::integer AS occupied_min, NULL::integer AS occupied_max, NULL::double precision AS car_seconds,
               NULL::double precision AS known_seconds

-- block: occupancy.stored_state
r.last_count

-- block: occupancy.event_state
e.occupied_count

-- block: occupancy.results
occupied_min integer, occupied_max integer, car_seconds double precision,
    known_seconds double precision

-- block: occupancy.totals
min(least(p.occupied_min, CASE WHEN p.stood > 0 THEN p.standing END)),
           max(greatest(p.occupied_max, CASE WHEN p.stood > 0 THEN p.standing END)),
           sum(coalesce(p.car_seconds, 0) + CASE WHEN p.stood > 0 THEN p.stood * p.standing ELSE 0 END),
           sum(coalesce(p.known_seconds, 0) + p.stood)

-- block: health.events
health_logs

-- block: health.event_column
status

-- block: health.stored_column
last_status

-- block: health.columns
healthy_seconds, degraded_seconds, disconnected_seconds

-- block: health.of_event
0, 0, 0

-- block: health.unknown
NULL::double precision AS healthy_seconds, NULL::double precision AS degraded_seconds,
               NULL::double precision AS disconnected_seconds

-- block: health.stored_state
CASE r.last_status WHEN 'healthy' THEN 1 WHEN 'degraded' THEN 2 ELSE 3 END

-- block: health.event_state
CASE e.status WHEN 'healthy' THEN 1 WHEN 'degraded' THEN 2 ELSE 3 END

-- block: health.results
healthy_seconds double precision, degraded_seconds double precision,
    disconnected_seconds double precision

-- block: health.totals
sum(coalesce(p.healthy_seconds, 0) + CASE p.standing WHEN 1 THEN p.stood ELSE 0 END),
           sum(coalesce(p.degraded_seconds, 0) + CASE p.standing WHEN 2 THEN p.stood ELSE 0 END),
           sum(coalesce(p.disconnected_seconds, 0) + CASE p.standing WHEN 3 THEN p.stood ELSE 0 END)
