-- The kind of server that the schema is built for is recorded, because the server may be given TimescaleDB, or another
-- licence, later: 'community' has hypertables and continuous aggregates, 'apache' hypertables and views, 'postgresql'
-- tables and views. Promotion replaces the function when it is done.
CREATE OR REPLACE FUNCTION timeseries.built_for() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT '@kind'
$$;
