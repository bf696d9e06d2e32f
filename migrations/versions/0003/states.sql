-- Current states and outages: answers about single observations, from raw rows, and from summaries where these are
-- gone. They run with the owner's rights, because readers have none on raw rows.

CREATE FUNCTION public.health_states(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, start_at timestamptz, end_at timestamptz, seconds double precision, status public.health_status,
    message text
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    from_at    CONSTANT timestamptz := coalesce(range_start, '-infinity');
    until_at   CONSTANT timestamptz := least(range_end, now());
    carry_from CONSTANT timestamptz := from_at - (
        SELECT make_interval(secs => max(date_part('epoch', c.hold))) FROM public.cameras AS c
        WHERE camera_ids IS NULL OR c.id = ANY (camera_ids));
BEGIN
    RETURN QUERY
    WITH logs AS (
        SELECT l.camera_id, l."timestamp" AS at, l.status, l.message
        FROM public.health_logs AS l
        WHERE (camera_ids IS NULL OR l.camera_id = ANY (camera_ids))
          AND l."timestamp" >= from_at AND l."timestamp" < until_at
        UNION ALL
        SELECT c.id, carried.at, carried.status, carried.message
        FROM public.cameras AS c
        CROSS JOIN LATERAL (
            SELECT l."timestamp" AS at, l.status, l.message
            FROM public.health_logs AS l
            WHERE l.camera_id = c.id AND l."timestamp" >= carry_from AND l."timestamp" < from_at
            ORDER BY l."timestamp" DESC
            LIMIT 1
        ) AS carried
        WHERE camera_ids IS NULL OR c.id = ANY (camera_ids)
    ),
    -- A status stands until the next log, at most for the hold: the same status after a longer gap is another row.
    states AS (
        SELECT l.camera_id, greatest(l.at, from_at) AS at, l.status, l.message,
               least(lead(l.at) OVER in_time, until_at,
                     l.at + make_interval(secs => date_part('epoch', c.hold))) AS stands_until
        FROM logs AS l
        JOIN public.cameras AS c ON c.id = l.camera_id
        WINDOW in_time AS (PARTITION BY l.camera_id ORDER BY l.at)
    ),
    changes AS (
        SELECT s.*,
               (lag(s.status) OVER in_time, lag(s.stands_until) OVER in_time)
                   IS DISTINCT FROM (s.status, s.at) AS changed
        FROM states AS s
        WHERE s.stands_until > s.at
        WINDOW in_time AS (PARTITION BY s.camera_id ORDER BY s.at)
    ),
    runs AS (
        SELECT c.*, count(*) FILTER (WHERE c.changed) OVER (PARTITION BY c.camera_id ORDER BY c.at) AS run
        FROM changes AS c
    )
    SELECT r.camera_id, min(r.at), nullif(max(r.stands_until), until_at),
           date_part('epoch', max(r.stands_until) - min(r.at)), r.status,
           (array_agg(r.message ORDER BY r.at) FILTER (WHERE r.message IS NOT NULL))[1]
    FROM runs AS r
    GROUP BY r.camera_id, r.run, r.status
    ORDER BY r.camera_id, min(r.at);
END
$$;
COMMENT ON FUNCTION public.health_states IS
    'A row per camera and unbroken time in one status, inside the range and as far back as raw rows go: start_at, end_at '
    '(NULL where it lasts), seconds, status and the first message.';

CREATE FUNCTION public.health_outages(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, start_at timestamptz, end_at timestamptz, seconds double precision, status public.health_status,
    message text
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT s.camera_id, s.start_at, s.end_at, s.seconds, s.status, s.message
    FROM public.health_states($1, $2, $3) AS s
    WHERE s.status <> 'healthy'
$$;
COMMENT ON FUNCTION public.health_outages IS 'The rows of health_states whose status is not healthy.';

CREATE FUNCTION public.latest(camera_ids uuid[] DEFAULT NULL)
RETURNS TABLE (
    camera_id uuid, counted_at timestamptz, occupied_count integer, count_age interval,
    status public.health_status, status_at timestamptz, status_age interval, message text
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 200
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    ids      CONSTANT uuid[] := ARRAY(
        SELECT c.id FROM public.cameras AS c WHERE camera_ids IS NULL OR c.id = ANY (camera_ids));
    counts   CONSTANT timeseries.observation[] := ARRAY(
        SELECT DISTINCT ON (f.camera_id) f
        FROM timeseries.last_events('occupancy', ids) AS f ORDER BY f.camera_id, f.seen_at DESC);
    statuses CONSTANT timeseries.observation[] := ARRAY(
        SELECT DISTINCT ON (f.camera_id) f
        FROM timeseries.last_events('health', ids) AS f ORDER BY f.camera_id, f.seen_at DESC);
BEGIN
    RETURN QUERY
    SELECT c.id, o.seen_at, o.occupied_count, now() - CASE WHEN o.seen_at > now() THEN now() ELSE o.seen_at END,
           h.status, h.seen_at, now() - CASE WHEN h.seen_at > now() THEN now() ELSE h.seen_at END, m.message
    FROM unnest(ids) AS asked (id)
    JOIN public.cameras AS c ON c.id = asked.id
    LEFT JOIN unnest(counts) AS o ON o.camera_id = c.id
    LEFT JOIN unnest(statuses) AS h ON h.camera_id = c.id
    LEFT JOIN timeseries.messages(statuses) AS m ON m.camera_id = c.id
    ORDER BY c.name;
END
$$;
COMMENT ON FUNCTION public.latest IS
    'A row per camera: its newest count and its newest health status, when they were observed, and how long ago.';

-- EXECUTE is for granted roles only, because the functions return counts and messages of every camera.
REVOKE EXECUTE ON FUNCTION public.health_states, public.latest FROM PUBLIC;
