DROP FUNCTION public.occupancy_quarters, public.occupancy_hours, public.occupancy_days,
    public.occupancy_weeks, public.occupancy_months, public.occupancy_years, public.occupancy_averages,
    public.occupancy_weekdays, public.occupancy_profile, public.occupancy_peaks, public.occupancy_unusual, public.occupancy_shares,
    public.occupancy_above, public.health_hours, public.health_weekdays, public.health_uptime, public.health_states,
    public.health_outages, public.latest;
DROP FUNCTION timeseries.messages, timeseries.last_events, timeseries.chunk_spans;
DROP FUNCTION timeseries.occupancy_days_above, timeseries.half_of_days_above, timeseries.least_above,
    timeseries.most_above, timeseries.occupancy_share_buckets, timeseries.occupancy_buckets, timeseries.health_buckets,
    timeseries.occupancy_of_cameras, timeseries.health_of_cameras, timeseries.watermarks,
    timeseries.local_buckets, timeseries.local_hours, timeseries.local_days, timeseries.next_midnight,
    timeseries.cut_pieces, timeseries.left_out, timeseries.bucket_pieces, timeseries.piece_unit,
    timeseries.open_quarters, timeseries.quarter_of_week,
    timeseries.bucket_width, timeseries.first_observations, public.calendar;
DROP TYPE timeseries.local_bucket, timeseries.zone_buckets, timeseries.camera_scope, timeseries.observation,
    timeseries.left_out, timeseries.calendar;
DROP VIEW timeseries.occupancy_stored_quarters, timeseries.occupancy_stored_hours, timeseries.occupancy_stored_days,
    timeseries.health_stored_quarters, timeseries.health_stored_hours, timeseries.health_stored_days;
