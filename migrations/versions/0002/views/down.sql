DROP FUNCTION timeseries.sealed, timeseries.materialize, timeseries.prune_day;
DROP FUNCTION timeseries.hold_quarters, timeseries.import_quarters;
DROP VIEW public.health_weekday, public.health_hourly, public.health_quarter_hourly,
    public.occupancy_weekday, public.occupancy_hourly, public.occupancy_quarter_hourly;
DROP VIEW timeseries.occupancy_live, timeseries.health_live;
DROP TABLE timeseries.occupancy_kept, timeseries.health_kept;
-- One index a statement, because TimescaleDB drops an index of a hypertable with nothing else.
DROP INDEX public.ix_occupancy_events_quarter;
DROP INDEX public.ix_occupancy_events_time;
DROP INDEX public.ix_health_logs_quarter;
DROP INDEX public.ix_health_logs_time;
