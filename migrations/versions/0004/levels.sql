-- Time in which the sum of a group is at or above a level, of the quarters of an hour that count (group_buckets.sql).
-- Where the members' least counts together reach the level a quarter lies above it, and where their most do not, below.
-- In others the sum is followed from raw row to raw row where all of these are there; else it is bounded as the count
-- of one camera is (0003/levels.sql), by the sums of least counts, most counts and integrals.

CREATE TYPE timeseries.group_quarter AS (
    bucket          timestamptz,
    local_date      date,
    level           bigint,
    samples         bigint,
    occupied_min    bigint,
    occupied_max    bigint,
    car_seconds     double precision,
    counted_seconds double precision,
    span_seconds    double precision
);

-- For how long the sum is at or above the level of each of these quarters, in order, and how many raw rows of members
-- lie in it.
CREATE FUNCTION timeseries.group_seconds_above(
    members timeseries.group_member[], quarters timestamptz[], levels bigint[]
) RETURNS TABLE (bucket timestamptz, seconds double precision, samples bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT q.bucket,
           coalesce(sum(date_part('epoch', least(s.next_at, now()) - s.at)) FILTER (
               WHERE s.occupied_count >= q.level AND s.at < now()), 0),
           sum(s.samples)::bigint
    FROM timeseries.group_sums(
        members,
        ARRAY(
            SELECT b FROM unnest(quarters) AS b UNION SELECT b + interval '15 minutes' FROM unnest(quarters) AS b
            ORDER BY 1),
        quarters[cardinality(quarters)] + interval '15 minutes', quarters) AS s
    JOIN unnest(quarters, levels) AS q (bucket, level) ON q.bucket = date_bin('15 minutes', s.at, 'epoch')
    GROUP BY q.bucket
$$;

-- Per local day of one group and level. A share is of the capacity that its members have together at the time.
CREATE FUNCTION timeseries.group_days_above(
    group_id uuid, range_start timestamptz, range_end timestamptz, time_zone text, level integer, share numeric,
    calendar timeseries.calendar
) RETURNS TABLE (
    local_date date, cars bigint, least_seconds double precision, most_seconds double precision,
    known_seconds double precision, span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    quarters CONSTANT timeseries.group_quarter[] := ARRAY(
        SELECT ROW(q.bucket, q.local_start::date, coalesce($5, ceil($6 * s.capacity)::bigint), q.samples,
                   q.occupied_min, q.occupied_max, q.car_seconds, q.counted_seconds,
                   q.span_seconds)::timeseries.group_quarter
        FROM timeseries.occupancy_of_group($1, $2, $3, 'quarter', $4, -1, $7) AS q
        LEFT JOIN timeseries.group_capacity_spans(ARRAY[$1]) AS s ON q.bucket >= s.start_at AND q.bucket < s.end_at);
    members  CONSTANT timeseries.group_member[] := ARRAY(
        SELECT ROW(m.camera_id, coalesce(m.since, '-infinity'), coalesce(m.until, 'infinity'))::timeseries.group_member
        FROM public.group_members AS m
        WHERE m.group_id = $1);
    crossing timestamptz[];
    levels   bigint[];
BEGIN
    SELECT array_agg(q.bucket ORDER BY q.bucket), array_agg(q.level ORDER BY q.bucket)
    INTO crossing, levels
    FROM unnest(quarters) AS q
    WHERE q.counted_seconds > 0 AND q.occupied_min < q.level AND q.occupied_max >= q.level;

    RETURN QUERY
    SELECT q.local_date, q.level,
           sum(CASE WHEN s.samples = q.samples THEN s.seconds ELSE b.least END),
           sum(CASE WHEN s.samples = q.samples THEN s.seconds ELSE b.most END),
           sum(q.counted_seconds), sum(q.span_seconds)
    FROM unnest(quarters) AS q
    LEFT JOIN timeseries.group_seconds_above(members, crossing, levels) AS s ON s.bucket = q.bucket
    LEFT JOIN LATERAL (
        SELECT timeseries.least_above(q.level, q.occupied_min, q.occupied_max, q.car_seconds, q.counted_seconds),
               timeseries.most_above(q.level, q.occupied_min, q.occupied_max, q.car_seconds, q.counted_seconds)
    ) AS b (least, most) ON q.counted_seconds > 0 AND q.level IS NOT NULL
    GROUP BY q.local_date, q.level;
END
$$;

CREATE FUNCTION public.group_above(
    group_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, level integer DEFAULT NULL, share numeric DEFAULT NULL, per text DEFAULT 'day',
    calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, bucket timestamptz, local_date date, weekday integer, cars bigint,
    hours_at_least double precision, hours_at_most double precision, known_hours double precision,
    coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.group_id, timeseries.midnight(b.first_date, coalesce($4, timeseries.group_zone(b.group_id))), b.first_date,
           b.weekday,
           CASE WHEN min(b.cars) = max(b.cars) AND bool_and(b.cars IS NOT NULL OR b.known_seconds = 0)
                THEN min(b.cars) END,
           CASE WHEN bool_and(b.cars IS NOT NULL OR b.known_seconds = 0) THEN sum(b.least_seconds) / 3600 END,
           CASE WHEN bool_and(b.cars IS NOT NULL OR b.known_seconds = 0) THEN sum(b.most_seconds) / 3600 END,
           sum(b.known_seconds) / 3600, sum(b.known_seconds) / sum(b.span_seconds)
    FROM (
        SELECT g.id AS group_id, d.*,
               CASE $7 WHEN 'day' THEN d.local_date
                       WHEN 'month' THEN date_trunc('month', d.local_date::timestamp)::date END AS first_date,
               CASE $7 WHEN 'weekday' THEN extract(isodow FROM d.local_date)::integer END AS weekday
        FROM public.camera_groups AS g
        CROSS JOIN LATERAL timeseries.group_days_above(g.id, $2, $3, $4, $5, $6, $8) AS d
        WHERE group_ids IS NULL OR g.id = ANY (group_ids)
    ) AS b
    GROUP BY b.group_id, b.first_date, b.weekday
$$;
COMMENT ON FUNCTION public.group_above IS
    'Hours in which the sum of a group is at or above a level (cars, or a share of its capacity), of the quarters of '
    'an hour in which all its members are known: equal bounds where raw rows are there. Otherwise as occupancy_above.';
