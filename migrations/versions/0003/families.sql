-- In what the two families differ: the parts that are filled into buckets.sql and pieces.sql.

-- block: occupancy.events
occupancy_events

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

-- block: occupancy.amounts
least(t.occupied_min, CASE WHEN t.carried > 0 THEN t.carried_state END) AS occupied_min,
           greatest(t.occupied_max, CASE WHEN t.carried > 0 THEN t.carried_state END) AS occupied_max,
           t.car_seconds + t.stood * t.state + CASE WHEN t.carried > 0 THEN t.carried * t.carried_state ELSE 0 END
               AS car_seconds,
           t.known_seconds + t.stood + t.carried AS known_seconds

-- block: occupancy.carried_amounts
CASE WHEN t.carried > 0 THEN t.carried_state END, CASE WHEN t.carried > 0 THEN t.carried_state END,
           CASE WHEN t.carried > 0 THEN t.carried * t.carried_state ELSE 0 END, t.carried

-- block: occupancy.totals
min(p.occupied_min), max(p.occupied_max), sum(p.car_seconds), sum(p.known_seconds)

-- block: occupancy.sums
-- Over cameras; least and most stop at the greatest integer.
least(sum(s.occupied_min), 2147483647)::integer, least(sum(s.occupied_max), 2147483647)::integer,
               sum(s.car_seconds), min(s.known_seconds)

-- block: health.events
health_logs

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

-- block: health.amounts
t.healthy_seconds + CASE t.state WHEN 1 THEN t.stood ELSE 0 END
               + CASE t.carried_state WHEN 1 THEN t.carried ELSE 0 END AS healthy_seconds,
           t.degraded_seconds + CASE t.state WHEN 2 THEN t.stood ELSE 0 END
               + CASE t.carried_state WHEN 2 THEN t.carried ELSE 0 END AS degraded_seconds,
           t.disconnected_seconds + CASE t.state WHEN 3 THEN t.stood ELSE 0 END
               + CASE t.carried_state WHEN 3 THEN t.carried ELSE 0 END AS disconnected_seconds

-- block: health.carried_amounts
CASE t.carried_state WHEN 1 THEN t.carried ELSE 0 END, CASE t.carried_state WHEN 2 THEN t.carried ELSE 0 END,
           CASE t.carried_state WHEN 3 THEN t.carried ELSE 0 END

-- block: health.totals
sum(p.healthy_seconds), sum(p.degraded_seconds), sum(p.disconnected_seconds)

-- block: health.sums
sum(s.healthy_seconds), sum(s.degraded_seconds), sum(s.disconnected_seconds)
