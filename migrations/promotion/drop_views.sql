DROP VIEW public.occupancy_hourly, public.occupancy_weekday, public.health_hourly, public.health_weekday;
DROP VIEW public.occupancy_quarter_hourly, public.health_quarter_hourly;
