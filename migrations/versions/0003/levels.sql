-- Time at or above a level. It is exact where raw rows are there: an observation stands until the next one, at most for
-- the hold and never past now. Of a quarter whose raw rows are gone the time between its first and its last observation
-- is bounded: all of it where its minimum is not below the level, none where its maximum is, else by its integral. The
-- last observation of such a quarter stands as exactly as any other.
--
-- The integral bounds, because counts are whole: of K seconds with the integral C, the minimum m and the maximum M, so
-- many seconds T lie at or above the level L that m (K - T) + L T <= C <= (L - 1) (K - T) + M T.

-- Per camera and local day, with the owner's rights, because readers have none on raw rows. A level is a number of
-- cars, or a share of the capacity as a decimal number, because 0.07 * 100 is more than 7 in binary.
CREATE FUNCTION timeseries.occupancy_days_above(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text, level integer, share numeric
) RETURNS TABLE (
    camera_id uuid, zone text, local_date date, cars integer, least_seconds double precision,
    most_seconds double precision, known_seconds double precision, span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off
SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    epoch      CONSTANT timestamptz := 'epoch';
    now_at     CONSTANT timestamptz := now();
    marks      CONSTANT record := timeseries.watermarks('occupancy');
    asked_from CONSTANT timestamptz := date_bin('15 minutes', nullif($2, '-infinity'), epoch);
    until_at   CONSTANT timestamptz :=
        date_bin('15 minutes', coalesce(nullif($3, 'infinity'), now()) + interval '899.999999 seconds', epoch);
    quarters_until CONSTANT timestamptz := marks.quarters_until;
    raw_from       CONSTANT timestamptz := marks.raw_from;
    ids        uuid[];
    starts     timestamptz[];
    from_at    timestamptz;
    carry_from timestamptz;
BEGIN
    SELECT array_agg(c.id), array_agg(asked_from), asked_from, asked_from - max(c.hold) - interval '15 minutes'
    INTO ids, starts, from_at, carry_from
    FROM public.cameras AS c
    WHERE ($1 IS NULL OR c.id = ANY ($1)) AND coalesce(asked_from, '-infinity') < until_at;
    -- Without a start the range of each camera begins with its first observation.
    IF asked_from IS NULL THEN
        SELECT array_agg(f.camera_id), array_agg(date_bin('15 minutes', f.first_at, epoch)),
               date_bin('15 minutes', min(f.first_at), epoch)
        INTO ids, starts, from_at
        FROM timeseries.first_observations(ids) AS f
        WHERE f.first_at < until_at;
    END IF;

    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT c.id, coalesce($4, c.timezone) AS zone, coalesce($5, ceil($6 * c.capacity)::integer) AS level,
               make_interval(secs => date_part('epoch', c.hold)) AS hold, s.start_at
        FROM unnest(ids, starts) AS s (id, start_at)
        JOIN public.cameras AS c ON c.id = s.id
    ),
    days AS MATERIALIZED (
        SELECT z.zone, array_agg(b.bucket ORDER BY b.bucket) AS begins,
               array_agg(b.bucket_end ORDER BY b.bucket) AS ends,
               array_agg(b.local_start::date ORDER BY b.bucket) AS dates
        FROM (SELECT DISTINCT a.zone FROM asked AS a) AS z
        CROSS JOIN LATERAL timeseries.local_buckets(from_at, until_at, 'day', z.zone) AS b
        WHERE b.bucket < b.bucket_end
        GROUP BY z.zone
    ),
    quarters AS MATERIALIZED (
        SELECT q.camera_id, q.bucket, q.first_at, q.last_at, q.last_count, q.occupied_min, q.occupied_max,
               q.car_seconds, q.known_seconds,
               coalesce(q.occupied_min >= a.level OR q.occupied_max < a.level, true) AS is_exact
        FROM timeseries.occupancy_stored_quarters AS q
        JOIN asked AS a ON a.id = q.camera_id
        WHERE q.camera_id = ANY (ids) AND q.bucket >= from_at AND q.bucket < least(until_at, quarters_until)
    ),
    -- Raw rows of quarters that crossed the level, and of those that are in no summary.
    raw AS MATERIALIZED (
        SELECT e.camera_id, e."timestamp" AS at, e.occupied_count AS count,
               date_bin('15 minutes', e."timestamp", epoch) AS quarter
        FROM public.occupancy_events AS e
        WHERE e.camera_id = ANY (ids) AND e."timestamp" >= from_at AND e."timestamp" < until_at
          AND NOT EXISTS (SELECT FROM quarters AS q
                          WHERE q.is_exact AND q.camera_id = e.camera_id
                            AND q.bucket = date_bin('15 minutes', e."timestamp", epoch))
    ),
    observed AS (
        SELECT r.camera_id, r.at AS first_at, r.at AS last_at, r.count, r.count AS least, r.count AS most,
               0.0::double precision AS car_seconds, 0.0::double precision AS known_seconds
        FROM raw AS r
        UNION ALL
        SELECT q.camera_id, q.first_at, q.last_at, q.last_count, q.occupied_min, q.occupied_max, q.car_seconds,
               q.known_seconds
        FROM quarters AS q
        WHERE q.is_exact OR NOT EXISTS (SELECT FROM raw AS r WHERE r.camera_id = q.camera_id AND r.quarter = q.bucket)
        UNION ALL
        -- What was observed before the range and still stands.
        SELECT a.id, '-infinity', carried.at, carried.count, carried.count, carried.count, 0, 0
        FROM asked AS a
        CROSS JOIN LATERAL (
            (
                SELECT q.last_at AS at, q.last_count AS count
                FROM timeseries.occupancy_stored_quarters AS q
                WHERE q.camera_id = a.id AND q.bucket >= carry_from AND q.bucket < least(asked_from, quarters_until)
                ORDER BY q.bucket DESC
                LIMIT 1
            )
            UNION ALL
            (
                SELECT e."timestamp", e.occupied_count
                FROM public.occupancy_events AS e
                WHERE e.camera_id = a.id AND e."timestamp" >= greatest(carry_from, raw_from)
                  AND e."timestamp" < asked_from
                ORDER BY e."timestamp" DESC
                LIMIT 1
            )
            ORDER BY at DESC
            LIMIT 1
        ) AS carried
    ),
    -- How long each stands: until the next one. The days come later, because a sort would carry them with every row.
    stood AS (
        SELECT o.*, lead(o.first_at, 1, until_at) OVER (PARTITION BY o.camera_id ORDER BY o.first_at) AS next_at
        FROM observed AS o
    ),
    dated AS (
        SELECT s.*, a.level, (s.count >= a.level)::integer AS is_above, d.begins, d.ends,
               greatest(s.last_at, a.start_at) AS from_at,
               least(s.next_at, s.last_at + a.hold, now_at, until_at) AS until_at
        FROM stood AS s
        JOIN asked AS a ON a.id = s.camera_id
        JOIN days AS d ON d.zone = a.zone
    ),
    -- A tail is of one count; between first and last observation the time above is bounded.
    pieces AS (
        SELECT s.camera_id, p.*
        FROM dated AS s
        CROSS JOIN LATERAL (
            SELECT n AS number, t.seconds * s.is_above AS least, t.seconds * s.is_above AS most, t.seconds AS known
            FROM generate_series(width_bucket(s.from_at, s.begins), width_bucket(s.until_at, s.begins)) AS n
            CROSS JOIN LATERAL (
                SELECT greatest(0, date_part('epoch', least(s.until_at, s.ends[n]) - greatest(s.from_at, s.begins[n])))
                       AS seconds
            ) AS t
            WHERE s.from_at < s.until_at
            UNION ALL
            SELECT width_bucket(s.first_at, s.begins),
                   CASE WHEN s.least >= s.level THEN s.known_seconds
                        WHEN s.most < s.level THEN 0
                        ELSE greatest(0, (s.car_seconds - (s.level - 1) * s.known_seconds)
                                         / (s.most - s.level + 1)) END,
                   CASE WHEN s.least >= s.level THEN s.known_seconds
                        WHEN s.most < s.level THEN 0
                        ELSE least(s.known_seconds,
                                   (s.car_seconds - s.least * s.known_seconds) / (s.level - s.least)) END,
                   s.known_seconds
            WHERE s.known_seconds > 0
        ) AS p
    ),
    sums AS (
        SELECT p.camera_id, p.number, sum(p.least) AS least, sum(p.most) AS most, sum(p.known) AS known
        FROM pieces AS p
        GROUP BY p.camera_id, p.number
    )
    SELECT a.id, a.zone, d.dates[n], a.level,
           CASE WHEN a.level IS NOT NULL THEN coalesce(s.least, 0) END,
           CASE WHEN a.level IS NOT NULL THEN greatest(s.least, s.most, 0) END, coalesce(s.known, 0),
           date_part('epoch', least(d.ends[n], until_at) - greatest(d.begins[n], a.start_at))
    FROM asked AS a
    JOIN days AS d ON d.zone = a.zone
    CROSS JOIN LATERAL generate_series(width_bucket(a.start_at, d.begins), cardinality(d.begins)) AS n
    LEFT JOIN sums AS s ON s.camera_id = a.id AND s.number = n;
END
$$;

CREATE FUNCTION public.occupancy_above(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, level integer DEFAULT NULL, share numeric DEFAULT NULL, per text DEFAULT 'day'
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_date date, weekday integer, cars integer,
    hours_at_least double precision, hours_at_most double precision, known_hours double precision,
    coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, timeseries.midnight(b.first_date, b.zone), b.first_date, b.weekday, b.cars,
           sum(b.least_seconds) / 3600, sum(b.most_seconds) / 3600, sum(b.known_seconds) / 3600,
           sum(b.known_seconds) / sum(b.span_seconds)
    FROM (
        SELECT d.*, CASE $7 WHEN 'day' THEN d.local_date
                            WHEN 'month' THEN date_trunc('month', d.local_date::timestamp)::date END AS first_date,
               CASE $7 WHEN 'weekday' THEN extract(isodow FROM d.local_date)::integer END AS weekday
        FROM timeseries.occupancy_days_above($1, $2, $3, $4, $5, $6) AS d
    ) AS b
    GROUP BY b.camera_id, b.zone, b.first_date, b.weekday, b.cars
$$;
COMMENT ON FUNCTION public.occupancy_above IS
    'Hours at or above a level (cars, or a share of the capacity) per camera and local day, weekday or month, or in '
    'all: equal bounds where raw rows are there, else the least and the most that the kept quarters allow.';
