-- One seed event of each family, ten minutes before midnight UTC, is inserted, refreshed and deleted again. A
-- continuous aggregate that was never refreshed has no watermark, and its first scheduled refresh would skip history
-- that was imported before it.
INSERT INTO public.cameras (name) VALUES ('timeseries: watermark') ON CONFLICT DO NOTHING;
INSERT INTO public.occupancy_events (camera_id, "timestamp", occupied_count)
    SELECT id, date_trunc('day', now(), 'UTC') - interval '10 minutes', 0
    FROM public.cameras WHERE name = 'timeseries: watermark'
    ON CONFLICT DO NOTHING;
INSERT INTO public.health_logs (camera_id, "timestamp", status)
    SELECT id, date_trunc('day', now(), 'UTC') - interval '10 minutes', 'healthy'
    FROM public.cameras WHERE name = 'timeseries: watermark'
    ON CONFLICT DO NOTHING;
