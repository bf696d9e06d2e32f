-- Retention where TimescaleDB runs no policies: once a day, by whichever process calls it, a UTC day of a table each
-- call.

-- Prunes the oldest day that is due, and returns whether there may be more. The row of retention_run is the lock,
-- because a row lock ends with its transaction: neither a process that dies nor a pooler leaves it behind. Ingest roles
-- may call this with the owner's rights, because a caller decides neither how long rows are kept (`at_least` can only
-- lengthen it) nor whether pruning is paused.
CREATE FUNCTION timeseries.retain(by_whom text, at_least interval DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
    run timeseries.retention_run;
    unfinished boolean;
    pause interval;
    last timestamptz;
    before timestamptz;
    oldest record;
    pruned bigint;
BEGIN
    IF timeseries.built_for() = 'community' THEN
        RETURN false;  -- because TimescaleDB's policies do it
    END IF;
    SELECT * INTO run FROM timeseries.retention_run WHERE scheduled FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    unfinished := run.error IS NULL AND coalesce(run.started_at > coalesce(run.finished_at, '-infinity'), false);
    IF NOT unfinished THEN
        -- The pause is an hour less than a day, because callers look once an hour. Processes wait longer than pg_cron,
        -- because the run is left to it unless it fails.
        pause := CASE WHEN run.error IS NOT NULL THEN interval '15 minutes'
                      WHEN run.cron_job IS NULL OR by_whom = 'pg_cron' THEN interval '23 hours'
                      ELSE interval '26 hours' END;
        last := CASE WHEN run.error IS NOT NULL THEN run.started_at ELSE coalesce(run.finished_at, run.since) END;
        IF last > now() - pause THEN
            RETURN false;
        END IF;
        UPDATE timeseries.retention_run
        SET started_at = now(), removed = 0, error = NULL, done_by = left(by_whom, 60) || ' as ' || session_user;
    END IF;
    SELECT date_trunc('day', now() - greatest(r.keep, at_least)) INTO before FROM timeseries.retention AS r;
    EXECUTE 'SELECT family, date_trunc(''day'', min(at)) AS day
             FROM (SELECT ''occupancy'' AS family, min("timestamp") AS at FROM public.occupancy_events WHERE "timestamp" < $1
                   UNION ALL
                   SELECT ''health'', min("timestamp") FROM public.health_logs WHERE "timestamp" < $1) AS o
             WHERE at IS NOT NULL AND timeseries.is_archived(family, date_trunc(''day'', at))
             GROUP BY family ORDER BY day LIMIT 1'
    INTO oldest USING before;
    IF oldest.day IS NULL THEN
        UPDATE timeseries.retention_run SET finished_at = clock_timestamp();
        RETURN false;
    END IF;
    BEGIN
        pruned := timeseries.prune_day(oldest.family, oldest.day);
    EXCEPTION WHEN OTHERS THEN  -- above all a lock that a reader holds
        UPDATE timeseries.retention_run SET started_at = now(), error = SQLERRM;
        RETURN false;
    END;
    UPDATE timeseries.retention_run SET removed = removed + pruned;
    RETURN true;
END
$$;

-- Retention for pg_cron: a whole run, each day in a transaction of its own.
CREATE PROCEDURE timeseries.retain_all(by_whom text) LANGUAGE plpgsql AS $$
BEGIN
    WHILE timeseries.retain(by_whom) LOOP
        COMMIT;
    END LOOP;
END
$$;

REVOKE EXECUTE ON ROUTINE timeseries.retain, timeseries.retain_all FROM PUBLIC;
