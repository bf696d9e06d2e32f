-- Late events on a server with continuous aggregates.
--
-- An event below the watermark does not wait for a refresh, because a refresh recomputes a range for every camera from
-- the raw rows that are left, erases where there are none, and needs transactions of its own and the owner's rights. So
-- the quarters, hours and days that the event touches are materialized in the transaction that stores it, for its
-- camera alone, from the view that a refresh would read.

-- The quarters among these whose raw rows are gone, because materializing one of them again would lose what is kept.
-- Nested loops are off, because a batch is large and a fresh aggregate has no statistics.
CREATE FUNCTION timeseries.sealed(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS TABLE (camera_id uuid, quarter timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    events text := CASE family WHEN 'occupancy' THEN 'occupancy_events' WHEN 'health' THEN 'health_logs' END;
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT a.camera_id, a.bucket
         FROM public.%I AS a
         JOIN unnest($1, $2) AS touched (camera_id, quarter)
             ON touched.camera_id = a.camera_id AND touched.quarter = a.bucket
         LEFT JOIN (
             SELECT e.camera_id, date_bin(''15 minutes'', e."timestamp", ''epoch'') AS quarter, count(*) AS samples
             FROM public.%I AS e
             WHERE e.camera_id = ANY ($1) AND e."timestamp" >= $3 AND e."timestamp" < $4 + interval ''15 minutes''
             GROUP BY 1, 2
         ) AS raw ON raw.camera_id = a.camera_id AND raw.quarter = a.bucket
         WHERE a.camera_id = ANY ($1) AND a.bucket BETWEEN $3 AND $4 AND a.samples > coalesce(raw.samples, 0)',
        family || '_quarter_hourly', events)
    USING camera_ids, quarters, (SELECT min(q) FROM unnest(quarters) AS q), (SELECT max(q) FROM unnest(quarters) AS q);
END
$$;

CREATE FUNCTION timeseries.materialize(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_nestloop = off
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
DECLARE
    level record;
    first_bucket timestamptz;
    last_bucket timestamptz;
BEGIN
    FOR level IN
        SELECT m.relation, m.definition, m.bucket AS width, m.watermark
        FROM timeseries.materializations AS m
        WHERE m.family = materialize.family
        ORDER BY m.bucket
    LOOP
        SELECT min(date_bin(level.width, q, 'epoch')), max(date_bin(level.width, q, 'epoch'))
        INTO first_bucket, last_bucket
        FROM unnest(quarters) AS q
        WHERE date_bin(level.width, q, 'epoch') < level.watermark;
        CONTINUE WHEN first_bucket IS NULL;
        -- The lock keeps other sessions and refreshes out, because both replace rows that the other may not see yet.
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', level.relation);
        EXECUTE format(
            'DELETE FROM %s AS m USING (SELECT DISTINCT c, date_bin($5, q, ''epoch'') AS bucket
                                        FROM unnest($1, $2) AS t (c, q)) AS touched
             WHERE m.camera_id = touched.c AND m.bucket = touched.bucket AND m.camera_id = ANY ($1)
               AND m.bucket BETWEEN $3 AND $4', level.relation)
        USING camera_ids, quarters, first_bucket, last_bucket, level.width;
        EXECUTE format(
            'INSERT INTO %s
             SELECT d.* FROM %s AS d
             WHERE d.camera_id = ANY ($1) AND d.bucket BETWEEN $3 AND $4
               AND (d.camera_id, d.bucket) IN (SELECT c, date_bin($5, q, ''epoch'') FROM unnest($1, $2) AS t (c, q))',
            level.relation, level.definition)
        USING camera_ids, quarters, first_bucket, last_bucket, level.width;
    END LOOP;
END
$$;

-- Hours and days are rebuilt when the zone or hold of their camera changes, because they depend on both: from the
-- quarters, which outlive the raw rows, for that camera alone and in the same transaction.
CREATE FUNCTION timeseries.rebuild_camera() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
DECLARE
    level record;
BEGIN
    FOR level IN
        SELECT m.relation, m.definition, m.watermark
        FROM timeseries.materializations AS m
        WHERE m.level IN ('hourly', 'weekday')
        ORDER BY m.family DESC, m.bucket
    LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', level.relation);
        EXECUTE format('DELETE FROM %s WHERE camera_id = $1', level.relation) USING NEW.id;
        EXECUTE format('INSERT INTO %s SELECT d.* FROM %s AS d WHERE d.camera_id = $1 AND d.bucket < $2',
                       level.relation, level.definition)
        USING NEW.id, level.watermark;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER rebuild_camera AFTER UPDATE OF timezone, hold ON public.cameras
    FOR EACH ROW WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone OR OLD.hold IS DISTINCT FROM NEW.hold)
    EXECUTE FUNCTION timeseries.rebuild_camera();
