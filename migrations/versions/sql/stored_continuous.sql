-- What is materialized, and until when: behind a watermark the materialization is right, since late events are
-- materialized by the transaction that stores them. Read as tables, it spares the planner the real-time views.

DO $$
DECLARE
    level record;
BEGIN
    FOR level IN
        SELECT h.schema_name, h.table_name, replace(replace(replace(a.user_view_name,
               '_quarter_hourly', '_stored_quarters'), '_hourly', '_stored_hours'), '_weekday', '_stored_days') AS name
        FROM _timescaledb_catalog.continuous_agg AS a
        JOIN _timescaledb_catalog.hypertable AS h ON h.id = a.mat_hypertable_id
        WHERE a.user_view_schema = 'public' AND a.user_view_name ~ '^(occupancy|health)_(quarter_hourly|hourly|weekday)$'
    LOOP
        EXECUTE format('CREATE VIEW timeseries.%I AS SELECT * FROM %I.%I', level.name, level.schema_name, level.table_name);
    END LOOP;
END
$$;

-- The catalog is read with the snapshot of the caller's query, so a refresh that commits meanwhile moves nothing.
CREATE FUNCTION timeseries.watermarks(
    family text, OUT days_until timestamptz, OUT hours_until timestamptz, OUT quarters_until timestamptz,
    OUT raw_from timestamptz
) LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.days_until, m.hours_until, m.quarters_until, m.quarters_until
    FROM (
        SELECT max(l.watermark) FILTER (WHERE l.level = '_weekday') AS days_until,
               max(l.watermark) FILTER (WHERE l.level = '_hourly') AS hours_until,
               max(l.watermark) FILTER (WHERE l.level = '_quarter_hourly') AS quarters_until
        FROM (
            SELECT substr(a.user_view_name, length(family) + 1) AS level,
                   _timescaledb_functions.to_timestamp(w.watermark) AS watermark
            FROM _timescaledb_catalog.continuous_agg AS a
            JOIN _timescaledb_catalog.continuous_aggs_watermark AS w ON w.mat_hypertable_id = a.mat_hypertable_id
            WHERE a.user_view_schema = 'public' AND starts_with(a.user_view_name::text, family || '_')
        ) AS l
    ) AS m
$$;
