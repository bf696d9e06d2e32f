-- Time at or above a level. It is exact where raw rows are there: an observation stands until the next one, at most for
-- the hold and never past now. Of a quarter whose raw rows are gone the time between its first and its last observation
-- is bounded: all of it where its minimum is not below the level, none where its maximum is, else by its integral. The
-- last observation of such a quarter stands as exactly as any other.

-- The bounds by the integral hold because counts are whole: of K seconds with the integral C, the minimum m and the
-- maximum M, so many seconds T lie at or above the level L that m (K - T) + L T <= C <= (L - 1) (K - T) + M T.
CREATE FUNCTION timeseries.least_above(
    level bigint, lowest bigint, highest bigint, car_seconds double precision, known_seconds double precision
) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN lowest >= level THEN known_seconds
                WHEN highest < level THEN 0
                ELSE greatest(0, (car_seconds - (level - 1) * known_seconds) / (highest - level + 1)) END
$$;

CREATE FUNCTION timeseries.most_above(
    level bigint, lowest bigint, highest bigint, car_seconds double precision, known_seconds double precision
) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN lowest >= level THEN known_seconds
                WHEN highest < level THEN 0
                ELSE least(known_seconds, (car_seconds - lowest * known_seconds) / (level - lowest)) END
$$;

-- Per camera and piece of a local day, with the owner's rights, because readers have none on raw rows. What the
-- calendar or a period leaves out cuts a day into pieces and has no row, as in buckets.sql; in what is unknown
-- observations are dropped, and where it begins nothing stands any longer. Each piece has its level: a number of cars,
-- or a share of the capacity as a decimal number, because 0.07 * 100 is more than 7 in binary.
CREATE FUNCTION timeseries.occupancy_days_above(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text, level integer, share numeric,
    calendar timeseries.calendar
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
    -- A composite value IS NOT NULL where none of its fields is NULL.
    is_cut     CONSTANT boolean := NOT (calendar IS NULL);
    -- Whether some cameras have pieces of their own is known before the answer is planned, because then nothing of that
    -- is planned where none has.
    has_cuts   boolean := EXISTS (SELECT FROM timeseries.periods);
    is_resized boolean;
    left_out   timeseries.left_out[] := '{}';
    ids        uuid[];
    starts     timestamptz[];
    from_at    timestamptz;
    carry_from timestamptz;
    half       integer;
BEGIN
    SELECT array_agg(c.id), array_agg(asked_from), asked_from, asked_from - max(c.hold) - interval '15 minutes',
           $6 IS NOT NULL AND bool_or(c.past_capacities <> '[]')
    INTO ids, starts, from_at, carry_from, is_resized
    FROM public.cameras AS c
    WHERE ($1 IS NULL OR c.id = ANY ($1)) AND coalesce(asked_from, '-infinity') < until_at;
    half := cardinality(ids) / 2;
    IF half >= 100 THEN
        RETURN QUERY
        SELECT * FROM timeseries.half_of_days_above(ids[:half], $2, $3, $4, $5, $6, $7)
        UNION ALL
        SELECT * FROM timeseries.half_of_days_above(ids[half + 1:], $2, $3, $4, $5, $6, $7);
        RETURN;
    END IF;
    -- Without a start the range of each camera begins with its first observation.
    IF asked_from IS NULL THEN
        SELECT array_agg(f.camera_id), array_agg(date_bin('15 minutes', f.first_at, epoch)),
               date_bin('15 minutes', min(f.first_at), epoch)
        INTO ids, starts, from_at
        FROM timeseries.first_observations(ids) AS f
        WHERE f.first_at < until_at;
    END IF;
    IF has_cuts THEN
        left_out := ARRAY(SELECT l FROM timeseries.left_out('occupancy', ids, asked_from, until_at) AS l);
    END IF;
    IF is_resized THEN
        -- A capacity that changes leaves nothing out, but cuts.
        left_out := left_out || ARRAY(
            SELECT ROW(s.camera_id, s.start_at, s.end_at, NULL)::timeseries.left_out
            FROM timeseries.capacity_spans(ids) AS s
            WHERE (isfinite(s.start_at) OR isfinite(s.end_at)) AND s.end_at > from_at AND s.start_at < until_at);
    END IF;
    has_cuts := left_out <> '{}';

    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT c.id, coalesce($4, c.timezone) AS zone,
               CASE WHEN has_cuts AND c.id IN (SELECT l.camera_id FROM unnest(left_out) AS l) THEN c.id END AS cut,
               coalesce($5, ceil($6 * c.capacity)::integer) AS level,
               make_interval(secs => date_part('epoch', c.hold)) AS hold, s.start_at
        FROM unnest(ids, starts) AS s (id, start_at)
        JOIN public.cameras AS c ON c.id = s.id
    ),
    -- The pieces of all cameras of a zone; a camera whose time is cut has its own, each with its level.
    zones AS MATERIALIZED (
        SELECT z.zone, z.cut, array_agg(p.edge ORDER BY p.edge) AS begins,
               array_agg(least(p.edge_end, until_at) ORDER BY p.edge) AS ends,
               array_agg(CASE WHEN isfinite(p.bucket) THEN p.local_start::date END ORDER BY p.edge) AS dates,
               CASE WHEN z.cut IS NOT NULL THEN array_agg(p.is_unknown ORDER BY p.edge) END AS unknown,
               CASE WHEN has_cuts AND z.cut IS NOT NULL THEN array_agg(coalesce($5, (
                   SELECT ceil($6 * s.capacity)::integer FROM timeseries.capacity_spans(ARRAY[z.cut]) AS s
                   WHERE s.start_at <= p.edge AND s.end_at > p.edge)) ORDER BY p.edge) END AS levels
        FROM (SELECT DISTINCT a.zone, a.cut FROM asked AS a) AS z
        CROSS JOIN LATERAL (
            SELECT l.bucket AS edge, l.bucket_end AS edge_end, l.bucket, l.local_start, false AS is_unknown
            FROM timeseries.local_buckets(from_at, until_at, 'day', z.zone) AS l
            WHERE z.cut IS NULL AND NOT is_cut AND l.bucket < l.bucket_end
            UNION ALL
            SELECT p.edge, p.edge_end, p.bucket, p.local_start, p.is_unknown
            FROM timeseries.cut_pieces(z.cut, left_out, from_at, until_at, 'day', z.zone, calendar) AS p
            WHERE is_cut OR has_cuts AND z.cut IS NOT NULL
        ) AS p
        GROUP BY z.zone, z.cut
    ),
    timed AS (
        -- When each observation, or summary of a quarter, stands in the piece in which it is.
        SELECT a.id AS camera_id, a.level, z.begins, z.ends, z.levels, o.*,
               width_bucket(o.stands_from, z.begins) AS number
        FROM asked AS a
        JOIN zones AS z ON z.zone = a.zone AND z.cut IS NOT DISTINCT FROM a.cut
        CROSS JOIN LATERAL (
            WITH quarters AS MATERIALIZED (
                SELECT q.bucket, q.first_at, q.last_at, q.last_count, q.occupied_min, q.occupied_max, q.car_seconds,
                       q.known_seconds,
                       coalesce(q.occupied_min >= l.level OR q.occupied_max < l.level, true) AS is_exact
                FROM timeseries.occupancy_stored_quarters AS q
                CROSS JOIN LATERAL (
                    SELECT CASE WHEN z.levels IS NULL THEN a.level
                                ELSE z.levels[width_bucket(q.bucket, z.begins)] END AS level
                ) AS l
                WHERE q.camera_id = a.id AND q.bucket >= from_at AND q.bucket < least(until_at, quarters_until)
            ),
            -- Raw rows of quarters that crossed the level, and of those that are in no summary.
            raw AS MATERIALIZED (
                SELECT e."timestamp" AS at, e.occupied_count AS count,
                       date_bin('15 minutes', e."timestamp", epoch) AS quarter
                FROM public.occupancy_events AS e
                WHERE e.camera_id = a.id AND e."timestamp" >= from_at AND e."timestamp" < until_at
                  AND NOT EXISTS (SELECT FROM quarters AS q
                                  WHERE q.is_exact AND q.bucket = date_bin('15 minutes', e."timestamp", epoch))
            )
            SELECT s.last_at, s.count, s.least, s.most, s.car_seconds, s.known_seconds,
                   greatest(s.last_at, a.start_at) AS stands_from,
                   least(s.next_at, s.last_at + a.hold, now_at, until_at) AS stands_until
            FROM (
                SELECT o.*, lead(o.first_at, 1, until_at) OVER (ORDER BY o.first_at) AS next_at
                FROM (
                    SELECT r.at AS first_at, r.at AS last_at, r.count, r.count AS least, r.count AS most,
                           0.0::double precision AS car_seconds, 0.0::double precision AS known_seconds
                    FROM raw AS r
                    UNION ALL
                    SELECT q.first_at, q.last_at, q.last_count, q.occupied_min, q.occupied_max, q.car_seconds,
                           q.known_seconds
                    FROM quarters AS q
                    WHERE q.is_exact OR NOT EXISTS (SELECT FROM raw AS r WHERE r.quarter = q.bucket)
                    UNION ALL
                    -- What was observed before the range and still stands.
                    SELECT '-infinity', carried.at, carried.count, carried.count, carried.count, 0, 0
                    FROM (
                        (
                            SELECT q.last_at AS at, q.last_count AS count
                            FROM timeseries.occupancy_stored_quarters AS q
                            WHERE q.camera_id = a.id
                              AND q.bucket >= carry_from AND q.bucket < least(asked_from, quarters_until)
                            ORDER BY q.bucket DESC
                            LIMIT 1
                        )
                        UNION ALL
                        (
                            SELECT e."timestamp", e.occupied_count
                            FROM public.occupancy_events AS e
                            WHERE e.camera_id = a.id
                              AND e."timestamp" >= greatest(carry_from, raw_from) AND e."timestamp" < asked_from
                            ORDER BY e."timestamp" DESC
                            LIMIT 1
                        )
                        ORDER BY at DESC
                        LIMIT 1
                    ) AS carried
                    WHERE NOT has_cuts OR NOT EXISTS (
                        SELECT FROM unnest(left_out) AS l
                        WHERE l.camera_id = a.id AND l.is_unknown AND l.end_at > carried.at AND l.start_at < asked_from
                    )
                    UNION ALL
                    -- Where what is unknown begins.
                    SELECT z.begins[n], NULL, NULL, NULL, NULL, NULL, NULL
                    FROM generate_subscripts(z.unknown, 1) AS n
                    WHERE has_cuts AND z.unknown[n] AND z.unknown[n - 1] IS NOT TRUE
                ) AS o
                WHERE NOT has_cuts
                    OR (z.unknown[width_bucket(o.first_at, z.begins)] AND o.last_at IS NOT NULL) IS NOT TRUE
            ) AS s
            WHERE s.last_at IS NOT NULL
        ) AS o
    ),
    -- A tail is of one count; between first and last observation the time above is bounded.
    pieces AS (
        SELECT t.camera_id, p.*
        FROM timed AS t
        CROSS JOIN LATERAL (
            SELECT t.number, w.above + timeseries.least_above(w.level, t.least, t.most, t.car_seconds, t.known_seconds)
                       AS least,
                   w.above + timeseries.most_above(w.level, t.least, t.most, t.car_seconds, t.known_seconds) AS most,
                   w.seconds + t.known_seconds AS known
            FROM (
                SELECT v.level, v.seconds, v.seconds * (t.count >= v.level)::integer AS above
                FROM (
                    SELECT CASE WHEN t.levels IS NULL THEN t.level ELSE t.levels[t.number] END AS level,
                           greatest(0, date_part('epoch',
                               least(t.stands_until, t.ends[t.number]) - t.stands_from)) AS seconds
                ) AS v
            ) AS w
            UNION ALL
            SELECT w.number, w.above, w.above, w.seconds
            FROM (
                SELECT v.number, v.seconds, v.seconds * (t.count >= v.level)::integer AS above
                FROM (
                    SELECT n AS number, CASE WHEN t.levels IS NULL THEN t.level ELSE t.levels[n] END AS level,
                           date_part('epoch', least(t.stands_until, t.ends[n]) - t.begins[n]) AS seconds
                    FROM generate_series(t.number + 1, width_bucket(t.stands_until, t.begins)) AS n
                    WHERE t.stands_until > t.ends[t.number]
                ) AS v
            ) AS w
        ) AS p
    ),
    sums AS (
        SELECT p.camera_id, p.number, sum(p.least) AS least, sum(p.most) AS most, sum(p.known) AS known
        FROM pieces AS p
        GROUP BY p.camera_id, p.number
    )
    SELECT a.id, a.zone, z.dates[n], l.level,
           CASE WHEN l.level IS NOT NULL THEN coalesce(s.least, 0) END,
           CASE WHEN l.level IS NOT NULL THEN greatest(s.least, s.most, 0) END, coalesce(s.known, 0),
           date_part('epoch', z.ends[n] - greatest(z.begins[n], a.start_at))
    FROM asked AS a
    JOIN zones AS z ON z.zone = a.zone AND z.cut IS NOT DISTINCT FROM a.cut
    CROSS JOIN LATERAL generate_series(width_bucket(a.start_at, z.begins), cardinality(z.begins)) AS n
    CROSS JOIN LATERAL (SELECT CASE WHEN z.levels IS NULL THEN a.level ELSE z.levels[n] END AS level) AS l
    LEFT JOIN sums AS s ON s.camera_id = a.id AND s.number = n
    WHERE z.dates[n] IS NOT NULL;
END
$$;

-- Many cameras are asked for in two halves for the reason that buckets.sql gives. It has a cost, because the planner
-- would else give none of them to a parallel worker.
CREATE FUNCTION timeseries.half_of_days_above(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text, level integer, share numeric,
    calendar timeseries.calendar
) RETURNS TABLE (
    camera_id uuid, zone text, local_date date, cars integer, least_seconds double precision,
    most_seconds double precision, known_seconds double precision, span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE COST 10000000 ROWS 1000 AS $$
BEGIN
    RETURN QUERY SELECT * FROM timeseries.occupancy_days_above($1, $2, $3, $4, $5, $6, $7);
END
$$;

CREATE FUNCTION public.occupancy_above(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, level integer DEFAULT NULL, share numeric DEFAULT NULL, per text DEFAULT 'day',
    calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_date date, weekday integer, cars integer,
    hours_at_least double precision, hours_at_most double precision, known_hours double precision,
    coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, timeseries.midnight(b.first_date, b.zone), b.first_date, b.weekday,
           CASE WHEN min(b.cars) = max(b.cars) AND bool_and(b.cars IS NOT NULL OR b.known_seconds = 0)
                THEN min(b.cars) END,
           CASE WHEN bool_and(b.cars IS NOT NULL OR b.known_seconds = 0) THEN sum(b.least_seconds) / 3600 END,
           CASE WHEN bool_and(b.cars IS NOT NULL OR b.known_seconds = 0) THEN sum(b.most_seconds) / 3600 END,
           sum(b.known_seconds) / 3600, sum(b.known_seconds) / sum(b.span_seconds)
    FROM (
        SELECT d.*, CASE $7 WHEN 'day' THEN d.local_date
                            WHEN 'month' THEN date_trunc('month', d.local_date::timestamp)::date END AS first_date,
               CASE $7 WHEN 'weekday' THEN extract(isodow FROM d.local_date)::integer END AS weekday
        FROM timeseries.occupancy_days_above($1, $2, $3, $4, $5, $6, $8) AS d
    ) AS b
    GROUP BY b.camera_id, b.zone, b.first_date, b.weekday
$$;
COMMENT ON FUNCTION public.occupancy_above IS
    'Hours at or above a level (cars, or a share of the capacity) per camera and local day, weekday or month, or in '
    'all: equal bounds where raw rows are there, else the least and the most that the kept quarters allow.';
