-- Chunks are a day wide, because retention drops whole chunks and a day of a few hundred cameras fits in memory.

SELECT public.create_hypertable('public.occupancy_events', public.by_range('timestamp', interval '1 day'),
                                create_default_indexes => false, migrate_data => true);
SELECT public.create_hypertable('public.health_logs', public.by_range('timestamp', interval '1 day'),
                                create_default_indexes => false, migrate_data => true);
