-- Late events on a server without continuous aggregates. Nothing is materialized, because the views see a late event at
-- once; a quarter whose raw rows were pruned is finalized.
--
-- Pruning locks the table of kept quarters in EXCLUSIVE mode, and a transaction that stores events old enough to be
-- pruned locks it in ROW SHARE mode, because the two conflict: an event is stored either before its quarter is kept,
-- and is in it, or afterwards, and is rejected.
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

-- Raises restrict_violation where a quarter is finalized. Only events older than a day are looked at, because pruning
-- keeps at least two.
CREATE FUNCTION timeseries.materialize(family text, camera_ids uuid[], quarters timestamptz[], added integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT min(q) FROM unnest(quarters) AS q) < now() - interval '24 hours'
       AND EXISTS (SELECT FROM timeseries.sealed(family, camera_ids, quarters)) THEN
        RAISE EXCEPTION 'a quarter of an hour is finalized' USING ERRCODE = 'restrict_violation';
    END IF;
END
$$;

-- Keeps the quarters of one UTC day and removes its raw rows, in the caller's transaction. Returns how many were
-- removed.
CREATE FUNCTION timeseries.prune_day(family text, day timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    events text := CASE family WHEN 'occupancy' THEN 'occupancy_events' WHEN 'health' THEN 'health_logs' END;
    next_day timestamptz := day + interval '24 hours';
    removed bigint;
BEGIN
    IF to_regproc('public.drop_chunks') IS NOT NULL THEN
        LOCK TABLE public.cameras IN ACCESS EXCLUSIVE MODE;  -- as drop_chunks will, and writers take it first
    END IF;
    EXECUTE format('LOCK TABLE timeseries.%I IN EXCLUSIVE MODE', family || '_kept');
    -- A kept quarter is finalized, so raw rows that were inserted since, without the store, are removed with the
    -- others.
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
    PERFORM timeseries.let_go(family, day, next_day, removed);
    RETURN removed;
END
$$;
