-- Late events on a server without continuous aggregates: the views see them at once, so there is nothing to
-- materialize; a quarter that was pruned is sealed.

CREATE FUNCTION timeseries.sealed(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS TABLE (camera_id uuid, quarter timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT k.camera_id, k.bucket FROM timeseries.%I AS k
         JOIN (SELECT DISTINCT c, q FROM unnest($1, $2) AS t (c, q)) AS touched
             ON touched.c = k.camera_id AND touched.q = k.bucket', family || '_kept')
    USING camera_ids, quarters;
END
$$;

CREATE FUNCTION timeseries.materialize(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS void LANGUAGE sql AS $$ $$;
