-- The exact answers. Everything that notebooks and dashboards ask is a grouping of one of two functions,
-- timeseries.occupancy_buckets and timeseries.health_buckets: local buckets of a range, each with the integral of
-- what is known in it. They read the aggregates, never the raw rows.

-- Local buckets that touch [range_start, range_end), both on a quarter of an hour. A local hour is a run of quarters
-- with one wall-clock hour and one offset, so that daylight saving and half-hour changes (Lord Howe) come out right.
CREATE FUNCTION timeseries.local_buckets(
    range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS TABLE (bucket timestamptz, bucket_end timestamptz, local_start timestamp)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT q, q + interval '15 minutes', q AT TIME ZONE time_zone
    FROM generate_series(range_start, range_end - interval '15 minutes', interval '15 minutes') AS q
    WHERE width = 'quarter'
    UNION ALL
    SELECT min(q), max(q) + interval '15 minutes', date_trunc('hour', min(q AT TIME ZONE time_zone))
    FROM generate_series(range_start - interval '45 minutes', range_end + interval '30 minutes',
                         interval '15 minutes') AS q
    WHERE width = 'hour'
    GROUP BY date_trunc('hour', q AT TIME ZONE time_zone), (q AT TIME ZONE time_zone) - (q AT TIME ZONE 'UTC')
    HAVING max(q) >= range_start AND min(q) < range_end
    UNION ALL
    SELECT timeseries.midnight(d::date, time_zone), timeseries.midnight(d::date + 1, time_zone), d
    FROM generate_series((range_start AT TIME ZONE time_zone)::date::timestamp,
                         ((range_end - interval '1 second') AT TIME ZONE time_zone)::date::timestamp,
                         interval '24 hours') AS d
    WHERE width = 'day'
$$;

-- The cameras asked for and the range of each, rounded outwards to quarters of an hour. Without a start the range
-- of a camera begins with its first observation, without an end it ends now.
CREATE FUNCTION timeseries.occupancy_scope(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text
) RETURNS TABLE (camera_id uuid, zone text, hold_seconds double precision, range_start timestamptz, range_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    SELECT
        c.id,
        coalesce($4, c.timezone),
        date_part('epoch', c.hold),
        date_bin('15 minutes', coalesce($2, f.first_at), timestamptz 'epoch'),
        date_bin('15 minutes', coalesce($3, now()) + interval '899.999999 seconds', timestamptz 'epoch')
    FROM public.cameras AS c
    LEFT JOIN LATERAL (
        SELECT min(w.first_at) AS first_at FROM public.occupancy_weekday AS w
        WHERE w.camera_id = c.id AND $2 IS NULL
    ) AS f ON true
    WHERE $1 IS NULL OR c.id = ANY ($1)
$$;

-- How the integral is taken: the rows of each camera and the beginnings of its buckets are put in one order in time.
-- Each of them lasts until the next; what was observed last stands meanwhile, at most for the hold, never past now.
CREATE FUNCTION timeseries.occupancy_buckets(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, samples bigint, occupied_min integer,
    occupied_max integer, car_seconds double precision, known_seconds double precision, span_seconds double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    WITH scope AS MATERIALIZED (
        SELECT
            s.*,
            CASE WHEN $2 IS NULL THEN (s.range_start AT TIME ZONE s.zone)::date
                 ELSE ((s.range_start - interval '1 second') AT TIME ZONE s.zone)::date + 1 END AS first_day,
            (s.range_end AT TIME ZONE s.zone)::date AS end_day
        FROM timeseries.occupancy_scope($1, $2, $3, $5) AS s
        WHERE s.range_start < s.range_end
    ),
    -- Whole local days in the camera's own zone come from the weekday aggregate, all else from the quarters.
    -- The bounds are spelled with the parameters so that the planner sees constants and leaves chunks out.
    summaries AS (
        SELECT w.camera_id, w.samples, w.occupied_min, w.occupied_max, w.first_at, w.last_at, w.last_count,
               w.car_seconds, w.known_seconds
        FROM public.occupancy_weekday AS w
        JOIN scope AS s ON s.camera_id = w.camera_id AND w.local_date >= s.first_day AND w.local_date < s.end_day
        WHERE $4 = 'day' AND $5 IS NULL
          AND ($1 IS NULL OR w.camera_id = ANY ($1))
          AND ($2 IS NULL OR w.bucket > $2 - interval '24 hours')
          AND w.bucket < coalesce($3, now())
        UNION ALL
        SELECT q.camera_id, q.samples, q.occupied_min, q.occupied_max, q.first_at, q.last_at, q.last_count,
               q.car_seconds, q.known_seconds
        FROM public.occupancy_quarter_hourly AS q
        JOIN scope AS s ON s.camera_id = q.camera_id
            AND (q.bucket AT TIME ZONE s.zone)::date < s.first_day AND q.bucket < s.range_end
        WHERE $4 = 'day' AND $5 IS NULL
          AND ($1 IS NULL OR q.camera_id = ANY ($1))
          AND q.bucket >= date_bin('15 minutes', $2, timestamptz 'epoch')
          AND q.bucket < $2 + interval '27 hours'
        UNION ALL
        SELECT q.camera_id, q.samples, q.occupied_min, q.occupied_max, q.first_at, q.last_at, q.last_count,
               q.car_seconds, q.known_seconds
        FROM public.occupancy_quarter_hourly AS q
        JOIN scope AS s ON s.camera_id = q.camera_id
            AND (q.bucket AT TIME ZONE s.zone)::date >= greatest(s.first_day, s.end_day) AND q.bucket < s.range_end
        WHERE $4 = 'day' AND $5 IS NULL
          AND ($1 IS NULL OR q.camera_id = ANY ($1))
          AND q.bucket >= coalesce($3, now()) - interval '27 hours'
          AND q.bucket < coalesce($3, now()) + interval '15 minutes'
        UNION ALL
        SELECT q.camera_id, q.samples, q.occupied_min, q.occupied_max, q.first_at, q.last_at, q.last_count,
               q.car_seconds, q.known_seconds
        FROM public.occupancy_quarter_hourly AS q
        WHERE ($4 <> 'day' OR $5 IS NOT NULL)
          AND ($1 IS NULL OR q.camera_id = ANY ($1))
          AND ($2 IS NULL OR q.bucket >= date_bin('15 minutes', $2, timestamptz 'epoch'))
          AND q.bucket < coalesce($3, now())
    ),
    buckets AS MATERIALIZED (
        SELECT z.zone, b.bucket, b.bucket_end, b.local_start
        FROM (SELECT zone, min(range_start) AS range_start, max(range_end) AS range_end FROM scope GROUP BY zone) AS z
        CROSS JOIN LATERAL timeseries.local_buckets(z.range_start, z.range_end, $4, z.zone) AS b
    ),
    elements AS (
        SELECT s.camera_id, s.hold_seconds, s.range_end, greatest(b.bucket, s.range_start) AS at, b.bucket, b.local_start,
               least(b.bucket_end, s.range_end) AS bucket_end,
               NULL::integer AS samples, NULL::integer AS occupied_min, NULL::integer AS occupied_max,
               NULL::timestamptz AS last_at, NULL::integer AS last_count,
               NULL::double precision AS car_seconds, NULL::double precision AS known_seconds
        FROM scope AS s
        JOIN buckets AS b ON b.zone = s.zone AND b.bucket_end > s.range_start AND b.bucket < s.range_end
        UNION ALL
        SELECT s.camera_id, s.hold_seconds, s.range_end, r.first_at, NULL, NULL, NULL,
               r.samples, r.occupied_min, r.occupied_max, r.last_at, r.last_count, r.car_seconds, r.known_seconds
        FROM summaries AS r
        JOIN scope AS s USING (camera_id)
        UNION ALL
        SELECT s.camera_id, s.hold_seconds, s.range_end, '-infinity', NULL, NULL, NULL,
               NULL, NULL, NULL, carried.last_at, carried.last_count, NULL, NULL
        FROM scope AS s
        CROSS JOIN LATERAL (
            SELECT q.last_at, q.last_count FROM public.occupancy_quarter_hourly AS q
            WHERE q.camera_id = s.camera_id
              AND q.bucket < date_bin('15 minutes', $2, timestamptz 'epoch')
              AND q.bucket >= s.range_start - make_interval(secs => s.hold_seconds + 900)
            ORDER BY q.bucket DESC LIMIT 1
        ) AS carried
    ),
    ordered AS (
        SELECT
            e.*,
            lead(e.at, 1, e.range_end) OVER in_time AS next_at,
            max(e.bucket) OVER in_time AS in_bucket,
            max(e.last_at) OVER in_time AS stands_from,
            count(e.last_at) OVER in_time AS observation
        FROM elements AS e
        WINDOW in_time AS (PARTITION BY e.camera_id ORDER BY e.at, e.bucket
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    pieces AS (
        SELECT
            o.*,
            max(o.last_count) OVER (PARTITION BY o.camera_id, o.observation) AS standing,
            CASE WHEN o.observation = 0 THEN 0 ELSE greatest(0, date_part('epoch',
                least(o.next_at, o.stands_from + make_interval(secs => o.hold_seconds), now())
                - coalesce(o.last_at, o.at))) END AS stood
        FROM ordered AS o
    )
    SELECT
        p.camera_id,
        p.in_bucket,
        max(p.local_start),
        coalesce(sum(p.samples), 0)::bigint,
        min(least(p.occupied_min, CASE WHEN p.stood > 0 THEN p.standing END)),
        max(greatest(p.occupied_max, CASE WHEN p.stood > 0 THEN p.standing END)),
        sum(coalesce(p.car_seconds, 0) + CASE WHEN p.stood > 0 THEN p.stood * p.standing ELSE 0 END),
        sum(coalesce(p.known_seconds, 0) + coalesce(p.stood, 0)),
        date_part('epoch', max(p.bucket_end) - max(p.at) FILTER (WHERE p.bucket IS NOT NULL))
    FROM pieces AS p
    WHERE p.in_bucket IS NOT NULL
    GROUP BY p.camera_id, p.in_bucket
$$;

CREATE FUNCTION timeseries.health_scope(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text
) RETURNS TABLE (camera_id uuid, zone text, hold_seconds double precision, range_start timestamptz, range_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    SELECT
        c.id,
        coalesce($4, c.timezone),
        date_part('epoch', c.hold),
        date_bin('15 minutes', coalesce($2, f.first_at), timestamptz 'epoch'),
        date_bin('15 minutes', coalesce($3, now()) + interval '899.999999 seconds', timestamptz 'epoch')
    FROM public.cameras AS c
    LEFT JOIN LATERAL (
        SELECT min(w.first_at) AS first_at FROM public.health_weekday AS w
        WHERE w.camera_id = c.id AND $2 IS NULL
    ) AS f ON true
    WHERE $1 IS NULL OR c.id = ANY ($1)
$$;

-- The same for health: a status stands until the next log, at most for the hold, never past now.
CREATE FUNCTION timeseries.health_buckets(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, samples bigint, healthy_seconds double precision,
    degraded_seconds double precision, disconnected_seconds double precision, span_seconds double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    WITH scope AS MATERIALIZED (
        SELECT
            s.*,
            CASE WHEN $2 IS NULL THEN (s.range_start AT TIME ZONE s.zone)::date
                 ELSE ((s.range_start - interval '1 second') AT TIME ZONE s.zone)::date + 1 END AS first_day,
            (s.range_end AT TIME ZONE s.zone)::date AS end_day
        FROM timeseries.health_scope($1, $2, $3, $5) AS s
        WHERE s.range_start < s.range_end
    ),
    -- Whole local days in the camera's own zone come from the weekday aggregate, all else from the quarters.
    -- The bounds are spelled with the parameters so that the planner sees constants and leaves chunks out.
    summaries AS (
        SELECT w.camera_id, w.samples, w.first_at, w.last_at, w.last_status,
               w.healthy_seconds, w.degraded_seconds, w.disconnected_seconds
        FROM public.health_weekday AS w
        JOIN scope AS s ON s.camera_id = w.camera_id AND w.local_date >= s.first_day AND w.local_date < s.end_day
        WHERE $4 = 'day' AND $5 IS NULL
          AND ($1 IS NULL OR w.camera_id = ANY ($1))
          AND ($2 IS NULL OR w.bucket > $2 - interval '24 hours')
          AND w.bucket < coalesce($3, now())
        UNION ALL
        SELECT q.camera_id, q.samples, q.first_at, q.last_at, q.last_status,
               q.healthy_seconds, q.degraded_seconds, q.disconnected_seconds
        FROM public.health_quarter_hourly AS q
        JOIN scope AS s ON s.camera_id = q.camera_id
            AND (q.bucket AT TIME ZONE s.zone)::date < s.first_day AND q.bucket < s.range_end
        WHERE $4 = 'day' AND $5 IS NULL
          AND ($1 IS NULL OR q.camera_id = ANY ($1))
          AND q.bucket >= date_bin('15 minutes', $2, timestamptz 'epoch')
          AND q.bucket < $2 + interval '27 hours'
        UNION ALL
        SELECT q.camera_id, q.samples, q.first_at, q.last_at, q.last_status,
               q.healthy_seconds, q.degraded_seconds, q.disconnected_seconds
        FROM public.health_quarter_hourly AS q
        JOIN scope AS s ON s.camera_id = q.camera_id
            AND (q.bucket AT TIME ZONE s.zone)::date >= greatest(s.first_day, s.end_day) AND q.bucket < s.range_end
        WHERE $4 = 'day' AND $5 IS NULL
          AND ($1 IS NULL OR q.camera_id = ANY ($1))
          AND q.bucket >= coalesce($3, now()) - interval '27 hours'
          AND q.bucket < coalesce($3, now()) + interval '15 minutes'
        UNION ALL
        SELECT q.camera_id, q.samples, q.first_at, q.last_at, q.last_status,
               q.healthy_seconds, q.degraded_seconds, q.disconnected_seconds
        FROM public.health_quarter_hourly AS q
        WHERE ($4 <> 'day' OR $5 IS NOT NULL)
          AND ($1 IS NULL OR q.camera_id = ANY ($1))
          AND ($2 IS NULL OR q.bucket >= date_bin('15 minutes', $2, timestamptz 'epoch'))
          AND q.bucket < coalesce($3, now())
    ),
    buckets AS MATERIALIZED (
        SELECT z.zone, b.bucket, b.bucket_end, b.local_start
        FROM (SELECT zone, min(range_start) AS range_start, max(range_end) AS range_end FROM scope GROUP BY zone) AS z
        CROSS JOIN LATERAL timeseries.local_buckets(z.range_start, z.range_end, $4, z.zone) AS b
    ),
    elements AS (
        SELECT s.camera_id, s.hold_seconds, s.range_end, greatest(b.bucket, s.range_start) AS at, b.bucket, b.local_start,
               least(b.bucket_end, s.range_end) AS bucket_end,
               NULL::integer AS samples, NULL::timestamptz AS last_at, NULL::public.health_status AS last_status,
               NULL::double precision AS healthy_seconds, NULL::double precision AS degraded_seconds,
               NULL::double precision AS disconnected_seconds
        FROM scope AS s
        JOIN buckets AS b ON b.zone = s.zone AND b.bucket_end > s.range_start AND b.bucket < s.range_end
        UNION ALL
        SELECT s.camera_id, s.hold_seconds, s.range_end, r.first_at, NULL, NULL, NULL,
               r.samples, r.last_at, r.last_status, r.healthy_seconds, r.degraded_seconds, r.disconnected_seconds
        FROM summaries AS r
        JOIN scope AS s USING (camera_id)
        UNION ALL
        SELECT s.camera_id, s.hold_seconds, s.range_end, '-infinity', NULL, NULL, NULL,
               NULL, carried.last_at, carried.last_status, NULL, NULL, NULL
        FROM scope AS s
        CROSS JOIN LATERAL (
            SELECT q.last_at, q.last_status FROM public.health_quarter_hourly AS q
            WHERE q.camera_id = s.camera_id
              AND q.bucket < date_bin('15 minutes', $2, timestamptz 'epoch')
              AND q.bucket >= s.range_start - make_interval(secs => s.hold_seconds + 900)
            ORDER BY q.bucket DESC LIMIT 1
        ) AS carried
    ),
    ordered AS (
        SELECT
            e.*,
            lead(e.at, 1, e.range_end) OVER in_time AS next_at,
            max(e.bucket) OVER in_time AS in_bucket,
            max(e.last_at) OVER in_time AS stands_from,
            count(e.last_at) OVER in_time AS observation
        FROM elements AS e
        WINDOW in_time AS (PARTITION BY e.camera_id ORDER BY e.at, e.bucket
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    pieces AS (
        SELECT
            o.*,
            max(o.last_status) OVER (PARTITION BY o.camera_id, o.observation) AS standing,
            CASE WHEN o.observation = 0 THEN 0 ELSE greatest(0, date_part('epoch',
                least(o.next_at, o.stands_from + make_interval(secs => o.hold_seconds), now())
                - coalesce(o.last_at, o.at))) END AS stood
        FROM ordered AS o
    )
    SELECT
        p.camera_id,
        p.in_bucket,
        max(p.local_start),
        coalesce(sum(p.samples), 0)::bigint,
        sum(coalesce(p.healthy_seconds, 0) + CASE p.standing WHEN 'healthy' THEN p.stood ELSE 0 END),
        sum(coalesce(p.degraded_seconds, 0) + CASE p.standing WHEN 'degraded' THEN p.stood ELSE 0 END),
        sum(coalesce(p.disconnected_seconds, 0) + CASE p.standing WHEN 'disconnected' THEN p.stood ELSE 0 END),
        date_part('epoch', max(p.bucket_end) - max(p.at) FILTER (WHERE p.bucket IS NOT NULL))
    FROM pieces AS p
    WHERE p.in_bucket IS NOT NULL
    GROUP BY p.camera_id, p.in_bucket
$$;

-- Each answer carries, for every camera asked for:
--   bucket        where the local hour begins (timestamptz), local_start the same on the wall
--   samples       observations in it
--   occupied_avg  the integral of the step function over what is known, divided by it; NULL where nothing is known
--   occupied_min, occupied_max  of the step function, so what was carried in counts
--   coverage      the known share of the part of the span that lies in the range, 0 to 1

CREATE FUNCTION public.occupancy_hours(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, occupied_avg double precision, occupied_min integer,
    occupied_max integer, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.bucket, b.local_start, b.car_seconds / nullif(b.known_seconds, 0), b.occupied_min,
           b.occupied_max, b.samples, b.known_seconds / b.span_seconds
    FROM timeseries.occupancy_buckets($1, $2, $3, 'hour', $4) AS b
$$;
COMMENT ON FUNCTION public.occupancy_hours IS
    'A row per camera and local hour of the range, empty hours too: time-weighted average, minimum and maximum of the '
    'step function of the observations, samples, and coverage (the known share of the hour).';

CREATE FUNCTION public.occupancy_weekdays(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, weekday integer, occupied_avg double precision, occupied_min integer, occupied_max integer,
    samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, extract(isodow FROM b.local_start)::integer,
           sum(b.car_seconds) / nullif(sum(b.known_seconds), 0), min(b.occupied_min), max(b.occupied_max),
           sum(b.samples)::bigint, sum(b.known_seconds) / sum(b.span_seconds)
    FROM timeseries.occupancy_buckets($1, $2, $3, 'day', $4) AS b
    GROUP BY b.camera_id, extract(isodow FROM b.local_start)::integer
$$;
COMMENT ON FUNCTION public.occupancy_weekdays IS
    'A row per camera and local weekday (ISO: Monday 1 to Sunday 7) over all such days of the range: time-weighted '
    'average, minimum, maximum, samples, and coverage (the known share of those days).';

CREATE FUNCTION public.health_hours(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, healthy_share double precision,
    degraded_share double precision, disconnected_share double precision, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.bucket, b.local_start, b.healthy_seconds / k.known, b.degraded_seconds / k.known,
           b.disconnected_seconds / k.known, b.samples, coalesce(k.known, 0) / b.span_seconds
    FROM timeseries.health_buckets($1, $2, $3, 'hour', $4) AS b
    CROSS JOIN LATERAL (
        SELECT nullif(b.healthy_seconds + b.degraded_seconds + b.disconnected_seconds, 0) AS known
    ) AS k
$$;
COMMENT ON FUNCTION public.health_hours IS
    'A row per camera and local hour of the range: the share of the known time in each status, samples, coverage.';

CREATE FUNCTION public.health_weekdays(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, weekday integer, healthy_share double precision, degraded_share double precision,
    disconnected_share double precision, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.weekday, b.healthy / b.known, b.degraded / b.known, b.disconnected / b.known,
           b.samples::bigint, coalesce(b.known, 0) / b.span
    FROM (
        SELECT d.camera_id, extract(isodow FROM d.local_start)::integer AS weekday, sum(d.healthy_seconds) AS healthy,
               sum(d.degraded_seconds) AS degraded, sum(d.disconnected_seconds) AS disconnected,
               nullif(sum(d.healthy_seconds + d.degraded_seconds + d.disconnected_seconds), 0) AS known,
               sum(d.samples) AS samples, sum(d.span_seconds) AS span
        FROM timeseries.health_buckets($1, $2, $3, 'day', $4) AS d
        GROUP BY d.camera_id, extract(isodow FROM d.local_start)::integer
    ) AS b
$$;
COMMENT ON FUNCTION public.health_weekdays IS
    'A row per camera and local weekday (ISO) over all such days of the range: share of the known time per status.';
