-- The integral of one family over local buckets, in two functions. The migration fills in what differs between the
-- families from families.sql: the names of the family and of its raw table, the columns of a summary besides its
-- observations (of_event: those of a raw row; unknown: of none), the state that an observation leaves as a whole number,
-- and the totals of a bucket from its pieces.
--
-- Every answer of notebooks and dashboards is made of these. Days and hours are read from their summaries as far as
-- these are materialized and match local time, the rest from quarters, and what lies above the watermark from raw rows,
-- each of which is a summary, too. The bounds of every part are variables, because these reach the planner as
-- constants, with which it excludes chunks.
--
-- Both run with the owner's rights, because a role that reads averages may not read what they are made of.
--
-- How the integral is taken: the summaries are sorted by time, those of one camera after those of another, because
-- the index gives them by camera and a sort of all is several times as slow. The last state of each stands until the
-- first observation of the next, at most for the hold and never past now: to the end of its own bucket (for t.stood
-- seconds), through buckets without a summary, and at the beginning of the next one's bucket (there t.carried_state
-- stands for t.carried seconds). A piece that is its whole bucket is a row of the answer; others are added up.
--
-- The memory is for rows of thousands of cameras, which would else go through temporary files; it is taken as needed.
--
-- With `per` the buckets are added up by weekday (1 to 7), by weekday and hour (weekday * 24 + hour) or all of them
-- together (0), and there is a label in place of a bucket. With 'members' each bucket is added up over the cameras, and
-- the label is its place, from 1; then what is left out of a camera's time is unknown.
--
-- A calendar, and any other width than quarter, hour and day, cuts the buckets into pieces, which are added up again
-- (calendar.sql). States are carried through pieces that do not count; these have the label -1 and are left out at the
-- end. They are not NULL, because in an array without NULL an element is found without a search.
--
-- What is left out of a camera's time (left_out.sql) cuts its buckets in the same way. In a piece that is unknown its
-- observations are dropped, and where one begins nothing stands any longer.
CREATE FUNCTION timeseries.@{family}_of_cameras(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text, per text,
    calendar timeseries.calendar
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, label integer, samples bigint, @results,
    span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER COST 10000000 ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off
SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    epoch      CONSTANT timestamptz := 'epoch';
    now_at     CONSTANT timestamptz := now();
    marks      CONSTANT record := timeseries.watermarks('@family');
    asked_from CONSTANT timestamptz := date_bin('15 minutes', nullif(range_start, '-infinity'), epoch);
    until_at   CONSTANT timestamptz :=
        date_bin('15 minutes', coalesce(nullif(range_end, 'infinity'), now()) + interval '899.999999 seconds', epoch);
    days_until     CONSTANT timestamptz := marks.days_until;
    hours_until    CONSTANT timestamptz := marks.hours_until;
    quarters_until CONSTANT timestamptz := marks.quarters_until;
    raw_from       CONSTANT timestamptz := marks.raw_from;
    -- A composite value IS NOT NULL where none of its fields is NULL.
    is_cut     CONSTANT boolean := NOT (calendar IS NULL) OR width NOT IN ('quarter', 'hour', 'day');
    has_days   CONSTANT boolean := width IN ('day', 'week', 'month', 'year') AND calendar.hours_from IS NULL
                                          AND calendar.opening IS NULL;
    left_out   CONSTANT timeseries.left_out[] := ARRAY(
        SELECT ROW(l.camera_id, l.start_at, l.end_at,
                   l.is_unknown OR per IS NOT DISTINCT FROM 'members')::timeseries.left_out
        FROM timeseries.left_out('@family', camera_ids, asked_from, until_at) AS l);
    -- What depends on these is not even planned where they are false, because they are constants to the planner.
    has_cuts   CONSTANT boolean := cardinality(left_out) > 0;
    skips      CONSTANT boolean := is_cut OR has_cuts;
    scopes     timeseries.camera_scope[];
    zones      timeseries.zone_buckets[];
    from_at    timestamptz;
    days       timestamptz[];  -- from and until, NULL where no camera is read that way
    hours      timestamptz[];
    head_until timestamptz;
    tail_from  timestamptz;
    carry_from timestamptz;
    is_simple  boolean;  -- where no bucket has several summaries, so that the pieces need not be looked at twice
BEGIN
    -- The cameras and the range of each: without a start it begins with the first observation.
    SELECT array_agg(ROW(s.id, s.zone, s.cut, NULL, s.hold, NULL, s.start_at, NULL, NULL)::timeseries.camera_scope),
           min(s.start_at)
    INTO scopes, from_at
    FROM (
        SELECT c.id, coalesce(time_zone, c.timezone) AS zone,
               CASE WHEN has_cuts AND EXISTS (SELECT FROM unnest(left_out) AS l WHERE l.camera_id = c.id)
                    THEN c.id END AS cut,
               make_interval(secs => date_part('epoch', c.hold)) AS hold,
               coalesce(asked_from, date_bin('15 minutes', least(
                   (SELECT r.first_at FROM timeseries.@{family}_stored_days AS r
                    WHERE r.camera_id = c.id AND r.bucket < days_until
                    ORDER BY r.bucket, r.first_at LIMIT 1),
                   (SELECT r.first_at FROM timeseries.@{family}_stored_quarters AS r
                    WHERE r.camera_id = c.id AND r.bucket >= days_until AND r.bucket < quarters_until
                    ORDER BY r.bucket LIMIT 1),
                   (SELECT e."timestamp" FROM public.@events AS e
                    WHERE e.camera_id = c.id AND e."timestamp" >= raw_from
                    ORDER BY e."timestamp" LIMIT 1)), epoch)) AS start_at
        FROM public.cameras AS c
        WHERE camera_ids IS NULL OR c.id = ANY (camera_ids)
    ) AS s
    WHERE s.start_at < until_at;

    SELECT array_agg(ROW(z.zone, z.cut, b.edges, b.buckets, b.local_starts, b.labels, b.spans,
                         CASE WHEN z.cut IS NOT NULL THEN b.unknown END)::timeseries.zone_buckets)
    INTO zones
    FROM (
        SELECT s.zone, s.cut, min(s.range_start) AS start_at,
               CASE WHEN s.cut IS NULL THEN asked_from ELSE min(s.range_start) END AS first_edge
        FROM unnest(scopes) AS s
        GROUP BY s.zone, s.cut
    ) AS z
    CROSS JOIN LATERAL (
        SELECT array_agg(greatest(l.edge, z.first_edge) ORDER BY l.edge) || until_at AS edges,
               array_agg(l.bucket ORDER BY l.edge) AS buckets,
               array_agg(l.local_start ORDER BY l.edge) AS local_starts,
               array_agg(CASE WHEN l.bucket = 'infinity' THEN -1
                              WHEN per = 'weekday' THEN extract(isodow FROM l.local_start)
                              WHEN per = 'profile' THEN extract(isodow FROM l.local_start) * 24
                                                        + extract(hour FROM l.local_start)
                              WHEN per = 'members' THEN l.number
                              ELSE 0 END::integer ORDER BY l.edge) AS labels,
               array_agg(date_part('epoch', least(l.edge_end, until_at) - greatest(l.edge, z.first_edge))
                         ORDER BY l.edge) AS spans,
               CASE WHEN has_cuts THEN array_agg(l.is_unknown ORDER BY l.edge) END AS unknown
        FROM (
            SELECT l.*, dense_rank() OVER (ORDER BY l.bucket) AS number
            FROM (
                SELECT l.bucket AS edge, l.bucket_end AS edge_end, l.bucket, l.local_start, false AS is_unknown
                FROM timeseries.local_buckets(z.start_at, until_at, width, z.zone) AS l
                WHERE z.cut IS NULL AND NOT is_cut AND l.bucket < l.bucket_end
                UNION ALL
                SELECT p.edge, p.edge_end, p.bucket, p.local_start, false
                FROM timeseries.bucket_pieces(z.start_at, until_at, width, z.zone, calendar) AS p
                WHERE z.cut IS NULL AND is_cut
                UNION ALL
                SELECT p.edge, p.edge_end, p.bucket, p.local_start, p.is_unknown
                FROM timeseries.cut_pieces(z.cut, left_out, z.start_at, until_at, width, z.zone, calendar) AS p
                WHERE has_cuts AND z.cut IS NOT NULL
            ) AS l
        ) AS l
    ) AS b;

    -- Whole days come from summaries of days in the camera's own zone, whole hours where local time allows it.
    SELECT array_agg(ROW(l.camera_id, l.zone, l.cut, l.zone_number, l.hold, l.level, l.range_start, l.coarse_from,
                         greatest(l.coarse_from, l.coarse_until))::timeseries.camera_scope),
           CASE WHEN bool_or(l.level = 'day') THEN ARRAY[min(l.coarse_from), max(l.coarse_until)] END,
           CASE WHEN bool_or(l.level = 'hour') THEN ARRAY[min(l.coarse_from), max(l.coarse_until)] END,
           coalesce(max(l.coarse_from), from_at),
           min(greatest(l.coarse_from, l.coarse_until)),
           asked_from - max(l.hold) - interval '15 minutes',
           NOT is_cut AND until_at <= raw_from AND bool_and(l.cut IS NULL AND l.level = width AND CASE l.level
               WHEN 'hour' THEN l.range_start >= l.coarse_from AND until_at <= l.coarse_until
               ELSE l.level = 'quarter' END)
    INTO scopes, days, hours, head_until, tail_from, carry_from, is_simple
    FROM (
        SELECT s.camera_id, s.zone, s.cut, z.number AS zone_number, s.hold, s.range_start, d.level,
               CASE WHEN asked_from IS NULL OR d.level = 'quarter' THEN s.range_start
                    WHEN d.level = 'hour'
                        THEN least(until_at, date_bin('1 hour', asked_from + interval '45 minutes', epoch))
                    ELSE least(until_at, z.first_midnight) END AS coarse_from,
               CASE d.level WHEN 'day' THEN least(days_until, z.last_midnight)
                            WHEN 'hour' THEN least(hours_until, date_bin('1 hour', until_at, epoch))
                            ELSE s.range_start END AS coarse_until
        FROM unnest(scopes) AS s
        JOIN public.cameras AS c ON c.id = s.camera_id
        JOIN (
            SELECT z.zone, z.cut, z.number, coalesce(bool_and(e = date_bin('1 hour', e, epoch)), true) AS on_the_hour,
                   coalesce(bool_and(z.cut IS NULL
                                     OR e = timeseries.midnight((e AT TIME ZONE z.zone)::date, z.zone)), true)
                       AS at_midnight,
                   timeseries.next_midnight(asked_from, z.zone) AS first_midnight,
                   timeseries.midnight((until_at AT TIME ZONE z.zone)::date, z.zone) AS last_midnight
            FROM unnest(zones) WITH ORDINALITY
                AS z (zone, cut, edges, buckets, local_starts, labels, spans, unknown, number)
            LEFT JOIN LATERAL unnest(z.edges[2:cardinality(z.edges) - 1]) AS e ON true
            GROUP BY z.zone, z.cut, z.number
        ) AS z ON z.zone = s.zone AND z.cut IS NOT DISTINCT FROM s.cut
        CROSS JOIN LATERAL (
            SELECT CASE WHEN has_days AND z.at_midnight AND s.zone = c.timezone AND isfinite(days_until) THEN 'day'
                        WHEN width <> 'quarter' AND z.on_the_hour AND isfinite(hours_until) THEN 'hour'
                        ELSE 'quarter' END AS level
        ) AS d
    ) AS l;

    IF per IS NULL AND is_simple THEN
        RETURN QUERY
@pieces
        SELECT p.camera_id, p.bucket, p.local_start, NULL::integer, p.samples::bigint, @columns, p.span_seconds
        FROM pieces AS p;
    ELSIF per IS NULL THEN
        RETURN QUERY
@pieces
        SELECT p.camera_id, p.bucket, p.local_start, NULL::integer, p.samples::bigint, @columns, p.span_seconds
        FROM pieces AS p
        WHERE p.is_whole AND NOT is_cut
        UNION ALL
        SELECT p.camera_id, p.bucket, p.local_start, NULL, sum(p.samples)::bigint, @totals, sum(p.span_seconds)
        FROM pieces AS p
        WHERE (is_cut OR NOT p.is_whole) AND (NOT skips OR p.label >= 0)
        GROUP BY p.camera_id, p.bucket, p.local_start;
    ELSIF per = 'members' AND is_simple THEN
        RETURN QUERY
@pieces
        SELECT NULL::uuid, NULL::timestamptz, NULL::timestamp, s.label, sum(s.samples)::bigint, @sums, max(s.span_seconds)
        FROM pieces AS s
        GROUP BY s.label;
    ELSIF per = 'members' THEN
        RETURN QUERY
@pieces
        SELECT NULL::uuid, NULL::timestamptz, NULL::timestamp, s.label, sum(s.samples)::bigint, @sums, max(s.span_seconds)
        FROM (
            SELECT p.camera_id, p.label, sum(p.samples), @totals, sum(p.span_seconds)
            FROM pieces AS p
            GROUP BY p.camera_id, p.label
        ) AS s (camera_id, label, samples, @columns, span_seconds)
        GROUP BY s.label;
    ELSE
        RETURN QUERY
@pieces
        SELECT p.camera_id, NULL::timestamptz, NULL::timestamp, p.label, sum(p.samples)::bigint, @totals,
               sum(p.span_seconds)
        FROM pieces AS p
        WHERE NOT skips OR p.label >= 0
        GROUP BY p.camera_id, p.label;
    END IF;
END
$$;

-- Many cameras are asked for in two halves, because PostgreSQL computes no window function in parallel, but two calls.
CREATE FUNCTION timeseries.@{family}_buckets(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text,
    per text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, label integer, samples bigint, @results,
    span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp SET jit = off
SET work_mem = '64MB' AS $$
DECLARE
    every uuid[];
    half  integer := cardinality(camera_ids) / 2;
BEGIN
    IF camera_ids IS NULL OR half >= 100 THEN
        every := ARRAY(SELECT c.id FROM public.cameras AS c WHERE camera_ids IS NULL OR c.id = ANY (camera_ids));
        half := cardinality(every) / 2;
    END IF;
    IF half < 100 THEN
        RETURN QUERY SELECT * FROM timeseries.@{family}_of_cameras($1, $2, $3, $4, $5, $6, $7);
    ELSE
        RETURN QUERY
        SELECT * FROM timeseries.@{family}_of_cameras(every[:half], $2, $3, $4, $5, $6, $7)
        UNION ALL
        SELECT * FROM timeseries.@{family}_of_cameras(every[half + 1:], $2, $3, $4, $5, $6, $7);
    END IF;
END
$$;
