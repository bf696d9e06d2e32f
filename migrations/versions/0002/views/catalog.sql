-- Where the aggregates are views nothing is materialized.
CREATE FUNCTION timeseries.read_catalog()
RETURNS TABLE (
    view_schema text, view_name text, hypertable_schema text, hypertable_name text, definition_schema text,
    definition_name text, watermark timestamptz
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::timestamptz
    WHERE false
$$;

CREATE FUNCTION timeseries.wrong_internals() RETURNS text LANGUAGE sql STABLE AS 'SELECT NULL::text';
