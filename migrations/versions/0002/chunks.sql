-- Makes the chunks of days that have none, before their events are stored, because TimescaleDB lets one transaction at a
-- time make chunks: a long one would hold up all others. A row is inserted and deleted again, because there is no public
-- function that makes a chunk. It is deleted by its id, because others may store events of that day at any moment.
CREATE FUNCTION timeseries.make_chunks(family text, days timestamptz[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    events text := CASE family WHEN 'occupancy' THEN 'occupancy_events' WHEN 'health' THEN 'health_logs' END;
    no_event text := CASE family WHEN 'occupancy' THEN 'occupied_count) SELECT id, $1, 0'
                                 ELSE 'status) SELECT id, $1, ''healthy''' END;
    missing timestamptz;
    inserted bigint;
BEGIN
    IF to_regclass('timescaledb_information.chunks') IS NULL THEN
        RETURN;
    END IF;
    FOR missing IN EXECUTE
        'SELECT day FROM unnest($2) AS day
         WHERE day >= ''epoch'' AND day <= now() AND NOT EXISTS (
             SELECT FROM timescaledb_information.chunks AS c
             WHERE c.hypertable_schema = ''public'' AND c.hypertable_name = $1 AND day >= c.range_start AND day < c.range_end)
         ORDER BY day'
    USING events, days LOOP
        EXECUTE format('INSERT INTO public.%I (camera_id, "timestamp", %s FROM public.cameras LIMIT 1'
                       ' ON CONFLICT DO NOTHING RETURNING id', events, no_event)
        INTO inserted USING missing;
        EXECUTE format('DELETE FROM public.%I WHERE id = $1 AND "timestamp" = $2', events) USING inserted, missing;
    END LOOP;
END
$$;
