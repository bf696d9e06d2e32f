DROP FUNCTION public.group_quarters, public.group_hours, public.group_days, public.group_weeks, public.group_months,
    public.group_years, public.group_averages, public.group_weekdays, public.group_profile, public.group_peaks,
    public.group_latest, public.group_shares, public.group_above;
DROP FUNCTION timeseries.group_days_above, timeseries.group_seconds_above, timeseries.group_share_buckets,
    timeseries.group_capacity_spans, timeseries.group_buckets, timeseries.occupancy_of_group,
    timeseries.group_extremes, timeseries.group_sums, timeseries.group_cut, timeseries.group_unknown, timeseries.group_rows,
    timeseries.group_pieces;
DROP TYPE timeseries.group_quarter, timeseries.group_piece, timeseries.group_member;
DROP FUNCTION timeseries.group_capacity, timeseries.group_zone;
DROP TABLE public.group_members;
DROP TABLE public.camera_groups;
DROP TRIGGER keep_name ON public.cameras;
DROP FUNCTION timeseries.keep_name;
DROP TABLE timeseries.names;
DROP TYPE timeseries.ids;
