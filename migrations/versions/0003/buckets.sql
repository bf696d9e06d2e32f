-- The integral of one family over local buckets. The migration fills in what differs between the families from
-- families.sql: the names of the family and of its raw table, the columns of a summary besides its observations
-- (of_event: those of a raw row; unknown: of none), the state that an observation leaves as a whole number, and the
-- totals of a bucket, in which the state p.standing stood for p.stood seconds.
--
-- Every answer of notebooks and dashboards is a grouping of these buckets. Days and hours are read from their summaries
-- as far as these are materialized and match local time, the rest from quarters, and what lies above the watermark from
-- raw rows, each of which is a summary, too. The bounds of every part are variables, because these reach the planner as
-- constants, with which it excludes chunks.
--
-- The function runs with the owner's rights, because a role that reads averages may not read what they are made of.
--
-- How the integral is taken: the rows of each camera and the beginnings of its buckets are sorted by time. Each of them
-- lasts until the next; the last observation stands meanwhile, at most for the hold and never past now.
CREATE FUNCTION timeseries.@{family}_buckets(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, samples bigint, @results, span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    epoch      CONSTANT timestamptz := 'epoch';
    marks      CONSTANT record := timeseries.watermarks('@family');
    asked_from CONSTANT timestamptz := date_bin('15 minutes', nullif(range_start, '-infinity'), epoch);
    until_at   CONSTANT timestamptz :=
        date_bin('15 minutes', coalesce(nullif(range_end, 'infinity'), now()) + interval '899.999999 seconds', epoch);
    days_until     CONSTANT timestamptz := marks.days_until;
    hours_until    CONSTANT timestamptz := marks.hours_until;
    quarters_until CONSTANT timestamptz := marks.quarters_until;
    raw_from       CONSTANT timestamptz := marks.raw_from;
    scopes     timeseries.camera_scope[];
    buckets    timeseries.local_bucket[];
    ids        uuid[];
    from_at    timestamptz;
    days       timestamptz[];  -- from and until, NULL where no camera is read that way
    hours      timestamptz[];
    head_until timestamptz;
    tail_from  timestamptz;
    carry_from timestamptz;
BEGIN
    -- The cameras and the range of each: without a start it begins with the first observation.
    SELECT array_agg(ROW(s.id, s.zone, s.hold_seconds, s.start_at, s.start_at, s.start_at)::timeseries.camera_scope),
           min(s.start_at)
    INTO scopes, from_at
    FROM (
        SELECT c.id, coalesce(time_zone, c.timezone) AS zone, date_part('epoch', c.hold) AS hold_seconds,
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

    SELECT array_agg(b)
    INTO buckets
    FROM (SELECT s.zone, min(s.range_start) AS start_at FROM unnest(scopes) AS s GROUP BY s.zone) AS z
    CROSS JOIN LATERAL timeseries.local_buckets(z.start_at, until_at, width, z.zone) AS b;

    -- Whole days come from summaries of days in the camera's own zone, whole hours where local time allows it.
    SELECT array_agg(ROW(l.camera_id, l.zone, l.hold_seconds, l.range_start, l.coarse_from,
                         greatest(l.coarse_from, l.coarse_until))::timeseries.camera_scope),
           array_agg(l.camera_id),
           CASE WHEN bool_or(l.level = 'day') THEN ARRAY[min(l.coarse_from), max(l.coarse_until)] END,
           CASE WHEN bool_or(l.level = 'hour') THEN ARRAY[min(l.coarse_from), max(l.coarse_until)] END,
           max(l.coarse_from) FILTER (WHERE l.coarse_from > l.range_start),
           min(greatest(l.coarse_from, l.coarse_until)),
           asked_from - make_interval(secs => max(l.hold_seconds) + 900)
    INTO scopes, ids, days, hours, head_until, tail_from, carry_from
    FROM (
        SELECT s.camera_id, s.zone, s.hold_seconds, s.range_start, d.level,
               CASE WHEN asked_from IS NULL OR d.level = 'quarter' THEN s.range_start
                    WHEN d.level = 'hour'
                        THEN least(until_at, date_bin('1 hour', s.range_start + interval '45 minutes', epoch))
                    ELSE least(until_at, timeseries.next_midnight(s.range_start, s.zone)) END AS coarse_from,
               CASE d.level
                    WHEN 'day' THEN least(days_until, timeseries.midnight((until_at AT TIME ZONE s.zone)::date, s.zone))
                    WHEN 'hour' THEN least(hours_until, date_bin('1 hour', until_at, epoch))
                    ELSE s.range_start END AS coarse_until
        FROM unnest(scopes) AS s
        JOIN public.cameras AS c ON c.id = s.camera_id
        JOIN (
            SELECT b.zone, bool_and(b.bucket = date_bin('1 hour', b.bucket, epoch)) AS on_the_hour
            FROM unnest(buckets) AS b
            GROUP BY b.zone
        ) AS z ON z.zone = s.zone
        CROSS JOIN LATERAL (
            SELECT CASE WHEN width = 'day' AND s.zone = c.timezone AND isfinite(days_until) THEN 'day'
                        WHEN width <> 'quarter' AND z.on_the_hour AND isfinite(hours_until) THEN 'hour'
                        ELSE 'quarter' END AS level
        ) AS d
    ) AS l;

    RETURN QUERY
    WITH summaries AS (
        SELECT s.camera_id, r.samples, r.first_at, r.last_at, @stored_state AS last_state, @columns
        FROM timeseries.@{family}_stored_days AS r
        JOIN unnest(scopes) AS s
            ON s.camera_id = r.camera_id AND r.first_at >= s.coarse_from AND r.first_at < s.coarse_until
        WHERE r.bucket > days[1] - interval '24 hours' AND r.bucket < days[2] AND r.camera_id = ANY (ids)
        UNION ALL
        SELECT s.camera_id, r.samples, r.first_at, r.last_at, @stored_state, @columns
        FROM timeseries.@{family}_stored_hours AS r
        JOIN unnest(scopes) AS s
            ON s.camera_id = r.camera_id AND r.bucket >= s.coarse_from AND r.bucket < s.coarse_until
        WHERE r.bucket >= hours[1] AND r.bucket < hours[2] AND r.camera_id = ANY (ids)
        UNION ALL
        SELECT s.camera_id, r.samples, r.first_at, r.last_at, @stored_state, @columns
        FROM timeseries.@{family}_stored_quarters AS r
        JOIN unnest(scopes) AS s
            ON s.camera_id = r.camera_id AND r.bucket >= s.range_start AND r.bucket < s.coarse_from
        WHERE r.bucket >= from_at AND r.bucket < least(head_until, quarters_until) AND r.camera_id = ANY (ids)
        UNION ALL
        SELECT s.camera_id, r.samples, r.first_at, r.last_at, @stored_state, @columns
        FROM timeseries.@{family}_stored_quarters AS r
        JOIN unnest(scopes) AS s ON s.camera_id = r.camera_id AND r.bucket >= s.coarse_until
        WHERE r.bucket >= tail_from AND r.bucket < least(until_at, quarters_until) AND r.camera_id = ANY (ids)
        UNION ALL
        SELECT s.camera_id, 1, e."timestamp", e."timestamp", @event_state, @of_event
        FROM public.@events AS e
        JOIN unnest(scopes) AS s
            ON s.camera_id = e.camera_id AND e."timestamp" >= s.range_start
            AND (e."timestamp" < s.coarse_from OR e."timestamp" >= s.coarse_until)
        WHERE e."timestamp" >= greatest(raw_from, from_at) AND e."timestamp" < until_at AND e.camera_id = ANY (ids)
        UNION ALL
        SELECT s.camera_id, NULL, '-infinity', carried.last_at, carried.last_state, @unknown
        FROM unnest(scopes) AS s
        CROSS JOIN LATERAL (
            (
                SELECT r.last_at, @stored_state AS last_state
                FROM timeseries.@{family}_stored_quarters AS r
                WHERE r.camera_id = s.camera_id
                  AND r.bucket >= s.range_start - make_interval(secs => s.hold_seconds + 900)
                  AND r.bucket >= carry_from AND r.bucket < least(asked_from, quarters_until)
                ORDER BY r.bucket DESC
                LIMIT 1
            )
            UNION ALL
            (
                SELECT e."timestamp", @event_state
                FROM public.@events AS e
                WHERE e.camera_id = s.camera_id
                  AND e."timestamp" >= s.range_start - make_interval(secs => s.hold_seconds)
                  AND e."timestamp" >= greatest(carry_from, raw_from) AND e."timestamp" < asked_from
                ORDER BY e."timestamp" DESC
                LIMIT 1
            )
            ORDER BY last_at DESC
            LIMIT 1
        ) AS carried
    ),
    elements AS (
        SELECT s.camera_id, s.hold_seconds, greatest(b.bucket, s.range_start) AS at, b.bucket, b.local_start,
               least(b.bucket_end, until_at) AS bucket_end, NULL::integer AS samples, NULL::timestamptz AS last_at,
               NULL::integer AS last_state, @unknown
        FROM unnest(scopes) AS s
        JOIN unnest(buckets) AS b ON b.zone = s.zone AND b.bucket_end > s.range_start
        UNION ALL
        SELECT r.camera_id, s.hold_seconds, r.first_at, NULL, NULL, NULL, r.samples, r.last_at, r.last_state, @columns
        FROM summaries AS r
        JOIN unnest(scopes) AS s ON s.camera_id = r.camera_id
    ),
    ordered AS (
        SELECT e.*,
               lead(e.at, 1, until_at) OVER in_time AS next_at,
               max(e.bucket) OVER in_time AS in_bucket,
               max(e.last_at) OVER in_time AS stands_from,
               count(e.last_at) OVER in_time AS observation
        FROM elements AS e
        WINDOW in_time AS (PARTITION BY e.camera_id ORDER BY e.at, e.bucket
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    -- The last state is carried forward. PostgreSQL before 19 lacks IGNORE NULLS, so (observation number << 31) + state
    -- is maximized over the window: the low 31 bits of the maximum are the state of the latest observation.
    pieces AS (
        SELECT o.*,
               (max(CASE WHEN o.last_at IS NOT NULL THEN (o.observation << 31) + o.last_state END) OVER in_time
                   & 2147483647)::integer AS standing,
               CASE WHEN o.observation = 0 THEN 0 ELSE greatest(0, date_part('epoch',
                   least(o.next_at, o.stands_from + make_interval(secs => o.hold_seconds), now())
                   - coalesce(o.last_at, o.at))) END AS stood
        FROM ordered AS o
        WINDOW in_time AS (PARTITION BY o.camera_id ORDER BY o.at, o.bucket
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    SELECT p.camera_id, p.in_bucket, max(p.local_start), coalesce(sum(p.samples), 0)::bigint,
           @totals,
           date_part('epoch', max(p.bucket_end) - max(p.at) FILTER (WHERE p.bucket IS NOT NULL))
    FROM pieces AS p
    WHERE p.in_bucket IS NOT NULL
    GROUP BY p.camera_id, p.in_bucket;
END
$$;
