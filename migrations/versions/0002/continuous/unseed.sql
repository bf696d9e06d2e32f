-- The aggregate rows of the seed events are deleted before the events, because the trigger keep_sealed_quarter keeps a
-- quarter that has no raw rows.
DO $$
DECLARE
    materialized regclass;
BEGIN
    FOR materialized IN SELECT relation FROM timeseries.materializations WHERE family IS NOT NULL LOOP
        EXECUTE format('DELETE FROM %s AS m USING public.cameras AS c
                        WHERE m.camera_id = c.id AND c.name = ''timeseries: watermark''', materialized);
    END LOOP;
END
$$;
DELETE FROM public.occupancy_events USING public.cameras AS c
    WHERE camera_id = c.id AND c.name = 'timeseries: watermark';
DELETE FROM public.health_logs USING public.cameras AS c
    WHERE camera_id = c.id AND c.name = 'timeseries: watermark';
DELETE FROM public.cameras WHERE name = 'timeseries: watermark';
