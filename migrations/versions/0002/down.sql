DROP FUNCTION
    public.store_tables, public.store_lag, public.store_jobs, public.store_archive, timeseries.read_overdue,
    timeseries.read_span, timeseries.has_events;
DROP FUNCTION timeseries.record_backup;
DROP TABLE timeseries.backups;
DROP ROUTINE timeseries.retain_all, timeseries.retain;
DROP FUNCTION timeseries.note_change, timeseries.is_archived, timeseries.let_go, timeseries.days_to_archive;
DROP TABLE timeseries.archived_days, timeseries.archive;
DROP TRIGGER guard_history ON public.cameras;
DROP FUNCTION timeseries.guard_history, timeseries.make_chunks;
DROP VIEW timeseries.materializations;
DROP FUNCTION timeseries.wrong_internals;
DROP FUNCTION timeseries.read_catalog;
DROP FUNCTION timeseries.midnight;
DROP AGGREGATE timeseries.summarize_occupancy(timestamptz, integer);
DROP AGGREGATE timeseries.summarize_health(timestamptz, public.health_status);
DROP AGGREGATE timeseries.merge_occupancy(
    timestamptz, integer, timestamptz, integer, double precision, double precision, interval);
DROP AGGREGATE timeseries.merge_health(
    timestamptz, public.health_status, timestamptz, public.health_status,
    double precision, double precision, double precision, interval);
DROP FUNCTION timeseries.add_occupancy, timeseries.join_occupancy, timeseries.add_health, timeseries.join_health;
DROP TYPE timeseries.occupancy_summary, timeseries.health_summary;
