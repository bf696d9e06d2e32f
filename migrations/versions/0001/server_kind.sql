-- The kind of this server, once the extension is there: its licence decides between the two editions, and the setting
-- is unknown to a session until the extension is loaded.
SELECT CASE WHEN NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN 'postgresql'
            WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'community'
            ELSE 'apache' END
