-- The newest event of each camera, also where thousands are silent. History is read in spans of time, newest first, and
-- in each span only for the cameras without an event in a newer one, because a lookup per camera in the whole
-- hypertable would search every chunk for every camera that never reported.

CREATE FUNCTION timeseries.chunk_spans(events regclass, since timestamptz)
RETURNS TABLE (lower timestamptz, upper timestamptz) LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF to_regclass('timescaledb_information.chunks') IS NOT NULL THEN
        RETURN QUERY
        SELECT greatest(c.range_start, since), c.range_end
        FROM timescaledb_information.chunks AS c
        WHERE format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass = events AND c.range_end > since
        ORDER BY c.range_start DESC;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT since, timestamptz 'infinity';
    END IF;
END
$$;
COMMENT ON FUNCTION timeseries.chunk_spans IS
    'The spans of time that the chunks of a hypertable cover, newest first; one span where the table has no chunks.';

CREATE TYPE timeseries.observation AS (
    camera_id      uuid,
    seen_at        timestamptz,
    occupied_count integer,
    status         public.health_status
);

-- Each span is a statement of its own, because the planner excludes chunks only where it knows the bounds. The cameras
-- are a subquery, because the planner would estimate a literal array element by element, which takes longer than the
-- search.
CREATE FUNCTION timeseries.last_events(family text, camera_ids uuid[])
RETURNS SETOF timeseries.observation LANGUAGE plpgsql STABLE PARALLEL SAFE SET jit = off AS $$
DECLARE
    -- One index lookup per camera, whatever the number of rows that each has in the span.
    by_camera CONSTANT text := 'SELECT array_agg(f::timeseries.observation)'
        ' FROM unnest($3) AS c (id) CROSS JOIN LATERAL ('
        'SELECT e.camera_id, e.%1$I, %4$s FROM %3$s AS e WHERE e.camera_id = c.id AND e.%2$I >= $1 AND e.%2$I < $2'
        ' ORDER BY e.%2$I DESC LIMIT 1) AS f';
    -- One scan: cheaper, but it reads all rows of the cameras that it finds.
    by_span   CONSTANT text := 'SELECT array_agg(f::timeseries.observation) FROM ('
        'SELECT DISTINCT ON (e.camera_id) e.camera_id, e.%1$I, %4$s FROM %3$s AS e WHERE e.%2$I >= $1 AND e.%2$I < $2'
        ' AND e.camera_id = ANY (ARRAY(SELECT unnest($3))) ORDER BY e.camera_id, e.%1$I DESC) AS f';
    of_event  CONSTANT text := CASE family WHEN 'occupancy' THEN 'e.occupied_count, NULL::public.health_status'
                                    ELSE 'NULL::integer, e.status' END;
    of_stored CONSTANT text := CASE family WHEN 'occupancy' THEN 'e.last_count, NULL::public.health_status'
                                    ELSE 'NULL::integer, e.last_status' END;
    events    CONSTANT text := CASE family WHEN 'occupancy' THEN 'public.occupancy_events' ELSE 'public.health_logs' END;
    quarters  CONSTANT text := format('timeseries.%I', family || '_stored_quarters');
    days      CONSTANT text := format('timeseries.%I', family || '_stored_days');
    marks     CONSTANT record := timeseries.watermarks(family);
    remaining uuid[] := camera_ids;
    found     timeseries.observation[];
    span      record;
    looked    integer := 0;
    upper     timestamptz := marks.days_until;
    width     interval := interval '10 days';
    first_day timestamptz;
BEGIN
    FOR span IN SELECT s.lower, s.upper FROM timeseries.chunk_spans(events::regclass, marks.raw_from) AS s LOOP
        EXIT WHEN remaining = '{}';
        looked := looked + 1;
        EXECUTE format(CASE WHEN looked <= 7 THEN by_camera ELSE by_span END, 'timestamp', 'timestamp', events, of_event)
        INTO found USING span.lower, span.upper, remaining;
        CONTINUE WHEN found IS NULL;
        RETURN QUERY SELECT * FROM unnest(found);
        remaining := ARRAY(SELECT unnest(remaining) EXCEPT SELECT f.camera_id FROM unnest(found) AS f);
    END LOOP;

    -- Where quarters are kept, they are searched for all cameras, because one may be newer than a raw row that was
    -- imported late.
    IF NOT isfinite(marks.raw_from) THEN
        remaining := camera_ids;
    END IF;
    IF remaining <> '{}' THEN
        EXECUTE format(by_camera, 'last_at', 'bucket', quarters, of_stored)
        INTO found USING marks.days_until, marks.quarters_until, remaining;
        RETURN QUERY SELECT * FROM unnest(found);
        remaining := ARRAY(SELECT unnest(remaining) EXCEPT SELECT f.camera_id FROM unnest(found) AS f);
        EXECUTE format('SELECT min(bucket) FROM %s', days) INTO first_day;
    END IF;
    WHILE remaining <> '{}' AND upper > first_day LOOP
        EXECUTE format(by_span, 'last_at', 'bucket', days, of_stored) INTO found USING upper - width, upper, remaining;
        upper := upper - width;
        width := 2 * width;
        CONTINUE WHEN found IS NULL;
        RETURN QUERY SELECT * FROM unnest(found);
        remaining := ARRAY(SELECT unnest(remaining) EXCEPT SELECT f.camera_id FROM unnest(found) AS f);
    END LOOP;
END
$$;
COMMENT ON FUNCTION timeseries.last_events IS
    'The last event of the family of each of these cameras; none where it never had one. Take the newest per camera.';

-- The messages of these health logs, of those whose raw rows are there. Each span is a statement of its own here, too:
-- one for all would look into every chunk for every camera.
CREATE FUNCTION timeseries.messages(logs timeseries.observation[])
RETURNS TABLE (camera_id uuid, message text) LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    oldest CONSTANT timestamptz := (SELECT min(l.seen_at) FROM unnest(logs) AS l);
    span   record;
BEGIN
    FOR span IN
        SELECT s.lower, s.upper,
               array_agg(l.camera_id) AS ids, array_agg(l.seen_at) AS moments
        FROM timeseries.chunk_spans('public.health_logs', oldest) AS s
        JOIN unnest(logs) AS l ON l.seen_at >= s.lower AND l.seen_at < s.upper
        GROUP BY s.lower, s.upper
    LOOP
        RETURN QUERY
        SELECT e.camera_id, e.message
        FROM unnest(span.ids, span.moments) AS l (camera_id, seen_at)
        CROSS JOIN LATERAL (
            SELECT h.camera_id, h.message
            FROM public.health_logs AS h
            WHERE h.camera_id = l.camera_id AND h."timestamp" = l.seen_at
              AND h."timestamp" >= span.lower AND h."timestamp" < span.upper
            LIMIT 1
        ) AS e;
    END LOOP;
END
$$;
