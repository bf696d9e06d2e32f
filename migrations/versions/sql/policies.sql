-- A refresh reaches as far back as raw rows are sure to be: start_offset + bucket + chunk stays below drop_after. It
-- computes only what changed, so a long window costs nothing, while a short one moves the watermark past rows that came
-- after an outage longer than the window, and hides them.

ALTER TABLE public.occupancy_events SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'camera_id', timescaledb.orderby = '"timestamp" DESC, id'
);
ALTER TABLE public.health_logs SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'camera_id', timescaledb.orderby = '"timestamp" DESC, id'
);
CALL public.add_columnstore_policy('public.occupancy_events', after => interval '7 days');
CALL public.add_columnstore_policy('public.health_logs', after => interval '7 days');

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

SELECT public.add_continuous_aggregate_policy(
    'public.' || family || '_quarter_hourly', start_offset => interval '88 days', end_offset => interval '1 hour',
    schedule_interval => interval '15 minutes')
FROM unnest(ARRAY['occupancy', 'health']) AS family;
SELECT public.add_continuous_aggregate_policy(
    'public.' || family || '_hourly', start_offset => interval '88 days', end_offset => interval '2 hours',
    schedule_interval => interval '30 minutes')
FROM unnest(ARRAY['occupancy', 'health']) AS family;
SELECT public.add_continuous_aggregate_policy(
    'public.' || family || '_weekday', start_offset => interval '88 days', end_offset => interval '1 day',
    schedule_interval => interval '1 hour')
FROM unnest(ARRAY['occupancy', 'health']) AS family;

SELECT public.add_retention_policy('public.occupancy_events', drop_after => interval '90 days');
SELECT public.add_retention_policy('public.health_logs', drop_after => interval '90 days');
