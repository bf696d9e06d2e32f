-- Triggers on the materialized quarters keep finalized ones. A quarter is finalized if it counted more raw rows than
-- there are now, because no refresh, from a job or by hand, can compute anything better: such a row is not deleted, not
-- replaced and not given a second one. Quarters younger than a day are not checked, because retention keeps at least
-- two days of raw rows. Hours and days need no trigger, because they are computed from quarters.
CREATE FUNCTION timeseries.keep_sealed_quarter() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_final boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE camera_id = $1 AND bucket = $2)',
                       TG_TABLE_SCHEMA, TG_TABLE_NAME)
        INTO is_final USING NEW.camera_id, NEW.bucket;
    ELSE
        EXECUTE format(
            'SELECT count(*) < $4 FROM public.%I WHERE camera_id = $1 AND "timestamp" >= $2 AND "timestamp" < $3',
            TG_ARGV[0])
        INTO is_final USING OLD.camera_id, OLD.bucket, OLD.bucket + interval '15 minutes', OLD.samples;
    END IF;
    RETURN CASE WHEN is_final THEN NULL WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

DO $$
DECLARE
    quarters record;
BEGIN
    FOR quarters IN
        SELECT m.relation, CASE m.family WHEN 'occupancy' THEN 'occupancy_events' ELSE 'health_logs' END AS events
        FROM timeseries.materializations AS m
        WHERE m.level = 'quarter_hourly'
    LOOP
        EXECUTE format(
            'CREATE TRIGGER keep_sealed_quarter BEFORE UPDATE OR DELETE ON %1$s FOR EACH ROW
             WHEN (OLD.bucket < now() - interval ''24 hours'')
             EXECUTE FUNCTION timeseries.keep_sealed_quarter(%2$L);
             CREATE TRIGGER keep_one_quarter BEFORE INSERT ON %1$s FOR EACH ROW
             WHEN (NEW.bucket < now() - interval ''24 hours'')
             EXECUTE FUNCTION timeseries.keep_sealed_quarter()', quarters.relation, quarters.events);
    END LOOP;
END
$$;
