-- The extension is created where it is installed and preloaded. Its settings show that it is preloaded, because only
-- superusers may read shared_preload_libraries.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers') THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public;
    END IF;
END
$$;
