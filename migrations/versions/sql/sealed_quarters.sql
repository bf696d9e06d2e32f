-- A quarter whose raw rows are gone is final: whoever refreshes its range, from a job, by hand or by mistake, finds
-- nothing to put in its place, so it is not taken away. Retention keeps more than a day of raw rows, so what is
-- younger never pays for this look. Hours and days are computed from the quarters and need no such guard.
CREATE FUNCTION timeseries.keep_sealed_quarter() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    has_raw_rows boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (SELECT FROM public.%I WHERE camera_id = $1 AND "timestamp" >= $2 AND "timestamp" < $3)',
        TG_ARGV[0])
    INTO has_raw_rows USING OLD.camera_id, OLD.bucket, OLD.bucket + interval '15 minutes';
    IF has_raw_rows THEN
        RETURN OLD;
    END IF;
    RETURN NULL;
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
            'CREATE TRIGGER keep_sealed_quarter BEFORE DELETE ON %s FOR EACH ROW
             WHEN (OLD.bucket < now() - interval ''24 hours'')
             EXECUTE FUNCTION timeseries.keep_sealed_quarter(%L)', quarters.relation, quarters.events);
    END LOOP;
END
$$;
