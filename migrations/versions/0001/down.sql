DROP TABLE public.health_logs;
DROP TABLE public.occupancy_events;
DROP TABLE timeseries.periods;
DROP TABLE public.cameras;
DROP TABLE timeseries.camera_versions;
DROP TYPE public.health_status;
DROP TYPE public.desired_state;
DROP SCHEMA timeseries CASCADE;
