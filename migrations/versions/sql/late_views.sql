-- Late events on a server without continuous aggregates: the views see them at once, so there is nothing to
-- materialize; a quarter that was pruned is sealed.
--
-- Pruning locks what is kept against others than readers, whoever stores events that pruning could be after shares a
-- weaker lock: an event comes either before its quarter is kept, and is in it, or after, and is rejected.
CREATE FUNCTION timeseries.sealed(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS TABLE (camera_id uuid, quarter timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('LOCK TABLE timeseries.%I IN ROW SHARE MODE', family || '_kept');
    RETURN QUERY EXECUTE format(
        'SELECT k.camera_id, k.bucket FROM timeseries.%I AS k
         JOIN (SELECT DISTINCT c, q FROM unnest($1, $2) AS t (c, q)) AS touched
             ON touched.c = k.camera_id AND touched.q = k.bucket', family || '_kept')
    USING camera_ids, quarters;
END
$$;

CREATE FUNCTION timeseries.materialize(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS void LANGUAGE sql AS $$ $$;

-- Keep the quarters of one UTC day and remove its raw rows, in the caller's transaction; how many rows were removed.
CREATE FUNCTION timeseries.prune_day(family text, day timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    events text := CASE family WHEN 'occupancy' THEN 'occupancy_events' WHEN 'health' THEN 'health_logs' END;
    next_day timestamptz := day + interval '24 hours';
    removed bigint;
BEGIN
    IF to_regproc('public.drop_chunks') IS NOT NULL THEN
        LOCK TABLE public.cameras IN ACCESS EXCLUSIVE MODE;  -- drop_chunks will; writers take it first, too
    END IF;
    EXECUTE format('LOCK TABLE timeseries.%I IN EXCLUSIVE MODE', family || '_kept');
    -- A quarter that is kept is final: what was put there since, past the store, goes with the raw rows.
    EXECUTE format('INSERT INTO timeseries.%I SELECT * FROM timeseries.%I WHERE bucket >= $1 AND bucket < $2'
                   ' ON CONFLICT DO NOTHING', family || '_kept', family || '_live')
    USING day, next_day;
    IF to_regproc('public.drop_chunks') IS NULL THEN
        EXECUTE format('DELETE FROM public.%I WHERE "timestamp" >= $1 AND "timestamp" < $2', events)
        USING day, next_day;
        GET DIAGNOSTICS removed = ROW_COUNT;
    ELSE
        EXECUTE format('SELECT count(*) FROM public.%I WHERE "timestamp" >= $1 AND "timestamp" < $2', events)
        INTO removed USING day, next_day;
        EXECUTE 'SELECT public.drop_chunks($1::regclass, older_than => $2, newer_than => $3)'
        USING 'public.' || events, next_day, day;
    END IF;
    RETURN removed;
END
$$;
