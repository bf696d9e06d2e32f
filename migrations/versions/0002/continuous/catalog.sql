-- TimescaleDB's private catalog is read here and nowhere else: by this function, on which the view
-- timeseries.materializations is built. It is a function with a body of text and no view, because PostgreSQL records no
-- dependency on what such a body reads: the update scripts of TimescaleDB drop and recreate tables of the catalog,
-- which a view of ours would forbid. The planner inlines it, so a column that is not asked for costs nothing.
--
-- What is private in it, and the public feature that would replace it:
--   continuous_agg joined to hypertable (the materialization): timescaledb_information.continuous_aggregates has it,
--       but joins more tables and renders each query as text, and every answer asks
--   partial_view_schema, partial_view_name (the query that a refresh runs): nothing public; a refresh that could be
--       limited to some cameras, within the caller's transaction and with its rights, would make it needless
--   continuous_aggs_watermark and to_timestamp(): nothing public has the watermark as a timestamp. The table is read,
--       and not cagg_watermark(), because it is read with the snapshot of the caller's query: a refresh that commits
--       meanwhile moves nothing
-- Rows of a materialization are written by timeseries.materialize, timeseries.rebuild_camera and promotion, and kept by
-- the trigger of final_quarters.sql; all of them find it by the view.
CREATE OR REPLACE FUNCTION timeseries.read_catalog()
RETURNS TABLE (
    view_schema text, view_name text, hypertable_schema text, hypertable_name text, definition_schema text,
    definition_name text, watermark timestamptz
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT a.user_view_schema::text, a.user_view_name::text, h.schema_name::text, h.table_name::text,
           a.partial_view_schema::text, a.partial_view_name::text,
           _timescaledb_functions.to_timestamp(w.watermark)
    FROM _timescaledb_catalog.continuous_agg AS a
    JOIN _timescaledb_catalog.hypertable AS h ON h.id = a.mat_hypertable_id
    LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark AS w ON w.mat_hypertable_id = a.mat_hypertable_id
$$;

-- What of all that is not as it was when this was written, after an update of the extension say; NULL where all is well.
-- Asked whenever the store is opened. Where it is not NULL nothing may be written into a materialization, because the
-- rows could go to a wrong place.
CREATE OR REPLACE FUNCTION timeseries.wrong_internals() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT string_agg(n.name || ' has ' || CASE
                   WHEN m.relation IS NULL THEN 'no materialization'
                   WHEN m.watermark IS NULL THEN 'no watermark'
                   ELSE 'other columns than what computes it' END, '; ')
        FROM unnest(ARRAY['occupancy_quarter_hourly', 'occupancy_hourly', 'occupancy_weekday',
                          'health_quarter_hourly', 'health_hourly', 'health_weekday']) AS n (name)
        LEFT JOIN timeseries.materializations AS m ON m.name = n.name AND m.family IS NOT NULL
        WHERE m.relation IS NULL OR m.watermark IS NULL OR (
            SELECT array_agg((a.attname, a.atttypid) ORDER BY a.attnum) FROM pg_attribute AS a
            WHERE a.attrelid = m.relation AND a.attnum > 0 AND NOT a.attisdropped
        ) IS DISTINCT FROM (
            SELECT array_agg((a.attname, a.atttypid) ORDER BY a.attnum) FROM pg_attribute AS a
            WHERE a.attrelid = m.definition AND a.attnum > 0 AND NOT a.attisdropped
        )
    );
EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_schema_name THEN
    RETURN SQLERRM;  -- a table, a column or a function is not there
END
$$;
