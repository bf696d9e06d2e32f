-- What only the lesser kind of server needs is removed, in the transaction that also makes the rest of what the schema
-- has on Community. The tables of kept quarters go no earlier, because an interrupted promotion starts again from them.
DROP FUNCTION timeseries.sealed, timeseries.materialize, timeseries.prune_day, timeseries.watermarks;
DROP FUNCTION timeseries.hold_quarters, timeseries.import_quarters;
DROP VIEW timeseries.occupancy_stored_quarters, timeseries.occupancy_stored_hours, timeseries.occupancy_stored_days,
    timeseries.health_stored_quarters, timeseries.health_stored_hours, timeseries.health_stored_days;
DROP VIEW timeseries.occupancy_live, timeseries.health_live;
DROP TABLE timeseries.occupancy_kept, timeseries.health_kept;
-- One index a statement, because TimescaleDB drops an index of a hypertable with nothing else.
DROP INDEX public.ix_occupancy_events_quarter;
DROP INDEX public.ix_occupancy_events_time;
DROP INDEX public.ix_health_logs_quarter;
DROP INDEX public.ix_health_logs_time;
