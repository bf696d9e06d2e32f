-- A quarter that counted more raw rows than there are is final: whoever refreshes its range, from a job, by hand or by
-- mistake, can put nothing better in its place, so it is neither taken away nor replaced, nor given a second row.
-- Retention keeps more than a day of raw rows, so what is younger never pays for this look. Hours and days are computed
-- from the quarters and need no such guard.
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
        SELECT format('%I.%I', h.schema_name, h.table_name) AS relation, w.events
        FROM (VALUES ('occupancy_quarter_hourly', 'occupancy_events'),
                     ('health_quarter_hourly', 'health_logs')) AS w (name, events)
        JOIN _timescaledb_catalog.continuous_agg AS a ON a.user_view_schema = 'public' AND a.user_view_name = w.name
        JOIN _timescaledb_catalog.hypertable AS h ON h.id = a.mat_hypertable_id
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
