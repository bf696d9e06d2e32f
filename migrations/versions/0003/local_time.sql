-- Local buckets of a range, and the scope of each camera in an answer.

CREATE TYPE timeseries.local_bucket AS (
    zone        text,
    bucket      timestamptz,
    bucket_end  timestamptz,
    local_start timestamp
);

-- The local buckets of one zone, in order. edges are where they begin inside the range, and where the last one ends
-- there; labels are what they are added up by. A camera with periods that do not count has buckets of its own, cut where
-- these begin and end: cut is its id, and unknown says of each piece whether what was observed in it is wrong.
CREATE TYPE timeseries.zone_buckets AS (
    zone         text,
    cut          uuid,
    edges        timestamptz[],
    buckets      timestamptz[],
    local_starts timestamp[],
    labels       integer[],
    spans        double precision[],
    unknown      boolean[]
);

-- One camera in an answer: summaries of its level, hours or days, are read in [coarse_from, coarse_until), quarters and
-- raw rows outside.
CREATE TYPE timeseries.camera_scope AS (
    camera_id    uuid,
    zone         text,
    cut          uuid,  -- the same as camera_id, where the camera has buckets of its own
    zone_number  integer,
    hold         interval,
    level        text,
    range_start  timestamptz,
    coarse_from  timestamptz,
    coarse_until timestamptz
);

-- Local hours that touch [range_start, range_end). One is a run of quarters with one wall-clock hour and one offset.
-- Around an hour in UTC with one offset it is found by arithmetic; where the offset changes (also by half an hour: Lord
-- Howe) the local hours on both sides are put together from quarters.
CREATE FUNCTION timeseries.local_hours(range_start timestamptz, range_end timestamptz, time_zone text)
RETURNS TABLE (bucket timestamptz, bucket_end timestamptz, local_start timestamp)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    WITH walls AS MATERIALIZED (
        SELECT h AS at, h AT TIME ZONE time_zone AS wall, (h - interval '1 hour') AT TIME ZONE time_zone AS wall_before,
               (h + interval '1 hour') AT TIME ZONE time_zone AS wall_after
        FROM generate_series(date_bin('1 hour', range_start, timestamptz 'epoch') - interval '4 hours',
                             range_end + interval '4 hours', interval '1 hour') AS h
    ),
    found AS (
        SELECT w.at - (w.wall - date_trunc('hour', w.wall)) AS bucket,
               w.at - (w.wall - date_trunc('hour', w.wall)) + interval '1 hour' AS bucket_end,
               date_trunc('hour', w.wall) AS local_start
        FROM walls AS w
        WHERE w.wall = w.wall_before + interval '1 hour' AND w.wall_after = w.wall + interval '1 hour'
        UNION ALL
        SELECT min(q), max(q) + interval '15 minutes', date_trunc('hour', min(q AT TIME ZONE time_zone))
        FROM walls AS w
        CROSS JOIN LATERAL generate_series(
            w.at - (w.wall - date_trunc('hour', w.wall)),
            w.at - (w.wall_after - date_trunc('hour', w.wall_after)) + interval '1 hour 45 minutes',
            interval '15 minutes') AS q
        WHERE w.wall_after <> w.wall + interval '1 hour'
        GROUP BY date_trunc('hour', q AT TIME ZONE time_zone), (q AT TIME ZONE time_zone) - (q AT TIME ZONE 'UTC')
    )
    SELECT f.bucket, f.bucket_end, f.local_start
    FROM found AS f
    WHERE f.bucket_end > range_start AND f.bucket < range_end
$$;

CREATE FUNCTION timeseries.local_days(range_start timestamptz, range_end timestamptz, time_zone text)
RETURNS TABLE (bucket timestamptz, bucket_end timestamptz, local_start timestamp)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT m.bucket, m.bucket_end, m.local_start
    FROM (
        SELECT d.bucket, lead(d.bucket) OVER (ORDER BY d.local_start) AS bucket_end, d.local_start
        FROM (
            SELECT day AS local_start, timeseries.midnight(day::date, time_zone) AS bucket
            FROM generate_series((range_start AT TIME ZONE time_zone)::date::timestamp,
                                 (range_end AT TIME ZONE time_zone)::date::timestamp + interval '24 hours',
                                 interval '24 hours') AS day
        ) AS d
    ) AS m
    WHERE m.bucket_end > range_start AND m.bucket < range_end
$$;

-- Quarters, hours or days that touch [range_start, range_end), both on a quarter of an hour.
CREATE FUNCTION timeseries.local_buckets(
    range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS SETOF timeseries.local_bucket
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT time_zone, q, q + interval '15 minutes', q AT TIME ZONE time_zone
    FROM generate_series(range_start, range_end - interval '15 minutes', interval '15 minutes') AS q
    WHERE width = 'quarter'
    UNION ALL
    SELECT time_zone, h.bucket, h.bucket_end, h.local_start
    FROM timeseries.local_hours(range_start, range_end, time_zone) AS h
    WHERE width = 'hour'
    UNION ALL
    SELECT time_zone, d.bucket, d.bucket_end, d.local_start
    FROM timeseries.local_days(range_start, range_end, time_zone) AS d
    WHERE width = 'day'
$$;

-- The first local midnight at a moment or after it.
CREATE FUNCTION timeseries.next_midnight(at timestamptz, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN timeseries.midnight((at AT TIME ZONE time_zone)::date, time_zone) >= at
                THEN timeseries.midnight((at AT TIME ZONE time_zone)::date, time_zone)
                ELSE timeseries.midnight((at AT TIME ZONE time_zone)::date + 1, time_zone) END
$$;
