ALTER TABLE public.occupancy_events SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'camera_id', timescaledb.orderby = '"timestamp" DESC, id'
);
ALTER TABLE public.health_logs SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'camera_id', timescaledb.orderby = '"timestamp" DESC, id'
);
CALL public.add_columnstore_policy('public.occupancy_events', after => interval '7 days');
CALL public.add_columnstore_policy('public.health_logs', after => interval '7 days');

-- The window of a refresh reaches back as far as there are raw rows for certain: start_offset + bucket + chunk is below
-- drop_after. A long window costs nothing, because a refresh computes only what changed. A short one would hide rows,
-- because it moves the watermark past those that arrive after an outage longer than the window.
SELECT public.add_continuous_aggregate_policy(
    'public.' || family || '_' || level,
    start_offset => least(interval '88 days', greatest(r.keep, interval '8 days') - interval '2 days'),
    end_offset => p.end_offset, schedule_interval => p.schedule_interval)
FROM timeseries.retention AS r
CROSS JOIN (VALUES ('quarter_hourly', interval '1 hour', interval '15 minutes'),
                   ('hourly', interval '2 hours', interval '30 minutes'),
                   ('weekday', interval '1 day', interval '1 hour')) AS p (level, end_offset, schedule_interval)
CROSS JOIN unnest(ARRAY['occupancy', 'health']) AS family;

-- The columnstore of an aggregate comes after its refresh, because TimescaleDB before 2.27.2 asks for that order.
DO $$
DECLARE
    aggregate text;
BEGIN
    FOREACH aggregate IN ARRAY ARRAY['occupancy_quarter_hourly', 'occupancy_hourly', 'occupancy_weekday',
                                     'health_quarter_hourly', 'health_hourly', 'health_weekday']
    LOOP
        EXECUTE format('ALTER MATERIALIZED VIEW public.%I SET (timescaledb.enable_columnstore,'
                       ' timescaledb.segmentby = ''camera_id'', timescaledb.orderby = ''bucket'')', aggregate);
        EXECUTE format('CALL public.add_columnstore_policy(''public.%I'', after => interval ''100 days'')', aggregate);
    END LOOP;
END
$$;

-- Retention takes over what timeseries.retention and retention_run record, because a promoted database may have set
-- them. It keeps at least eight days, because chunks go into the columnstore after seven.
SELECT public.alter_job(
    public.add_retention_policy('public.' || events, drop_after => greatest(r.keep, interval '8 days')),
    scheduled => NOT EXISTS (SELECT FROM timeseries.archive)
                 AND coalesce((SELECT scheduled FROM timeseries.retention_run), false))
FROM timeseries.retention AS r
CROSS JOIN unnest(ARRAY['occupancy_events', 'health_logs']) AS events;
