-- The newest event of each camera, also where thousands are silent. History is read in spans of time, newest first, and
-- in each span only for the cameras without an event in a newer one, because a lookup per camera in the whole
-- hypertable would search every chunk for every camera that never reported.

CREATE FUNCTION timeseries.chunk_spans(events regclass, since timestamptz)
RETURNS TABLE (lower timestamptz, upper timestamptz) LANGUAGE plpgsql STABLE AS $$
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

-- Each span is a statement of its own, because the planner excludes chunks only where it knows the bounds. The cameras
-- are a subquery, because the planner would estimate a literal array element by element, which takes longer than the
-- search.
CREATE FUNCTION timeseries.last_events(family text, camera_ids uuid[])
RETURNS TABLE (camera_id uuid, seen_at timestamptz) LANGUAGE plpgsql STABLE SET jit = off AS $$
#variable_conflict use_column
DECLARE
    -- One index lookup per camera, whatever the number of rows that each has in the span.
    by_camera CONSTANT text := 'SELECT array_agg(c.id), array_agg(f.at) FROM unnest($3) AS c (id) CROSS JOIN LATERAL ('
        'SELECT e.%1$I AS at FROM %3$s AS e WHERE e.camera_id = c.id AND e.%2$I >= $1 AND e.%2$I < $2'
        ' ORDER BY e.%2$I DESC LIMIT 1) AS f';
    -- One index scan that skips from camera to camera: cheaper, but it reads all rows of those that it finds.
    by_span   CONSTANT text := 'SELECT array_agg(f.id), array_agg(f.at) FROM ('
        'SELECT e.camera_id AS id, max(e.%1$I) AS at FROM %3$s AS e WHERE e.%2$I >= $1 AND e.%2$I < $2'
        ' AND e.camera_id = ANY (ARRAY(SELECT unnest($3))) GROUP BY e.camera_id) AS f';
    events    CONSTANT text := CASE family WHEN 'occupancy' THEN 'public.occupancy_events' ELSE 'public.health_logs' END;
    days      CONSTANT text := format('timeseries.%I', family || '_stored_days');
    marks     CONSTANT record := timeseries.watermarks(family);
    remaining uuid[] := camera_ids;
    found_ids uuid[];
    found_at  timestamptz[];
    span      record;
    looked    integer := 0;
    upper     timestamptz := marks.days_until;
    width     interval := interval '10 days';
    first_day timestamptz;
BEGIN
    FOR span IN SELECT s.lower, s.upper FROM timeseries.chunk_spans(events::regclass, marks.raw_from) AS s LOOP
        EXIT WHEN remaining = '{}';
        looked := looked + 1;
        EXECUTE format(CASE WHEN looked <= 7 THEN by_camera ELSE by_span END, 'timestamp', 'timestamp', events)
        INTO found_ids, found_at USING span.lower, span.upper, remaining;
        CONTINUE WHEN found_ids IS NULL;
        RETURN QUERY SELECT f.id, f.at FROM unnest(found_ids, found_at) AS f (id, at);
        remaining := ARRAY(SELECT unnest(remaining) EXCEPT SELECT unnest(found_ids));
    END LOOP;

    -- Quarters are searched for all cameras, because a kept quarter may be newer than a raw row that was imported late.
    EXECUTE format(by_camera, 'last_at', 'bucket', format('timeseries.%I', family || '_stored_quarters'))
    INTO found_ids, found_at USING marks.days_until, marks.quarters_until, camera_ids;
    RETURN QUERY SELECT f.id, f.at FROM unnest(found_ids, found_at) AS f (id, at);
    remaining := ARRAY(SELECT unnest(remaining) EXCEPT SELECT unnest(found_ids));

    EXECUTE format('SELECT min(bucket) FROM %s', days) INTO first_day;
    WHILE remaining <> '{}' AND upper > first_day LOOP
        EXECUTE format(by_span, 'last_at', 'bucket', days) INTO found_ids, found_at
        USING upper - width, upper, remaining;
        upper := upper - width;
        width := 2 * width;
        CONTINUE WHEN found_ids IS NULL;
        RETURN QUERY SELECT f.id, f.at FROM unnest(found_ids, found_at) AS f (id, at);
        remaining := ARRAY(SELECT unnest(remaining) EXCEPT SELECT unnest(found_ids));
    END LOOP;
END
$$;
COMMENT ON FUNCTION timeseries.last_events IS
    'When each of these cameras last had an event of the family; none where it never had one. Take the greatest per camera.';
