-- Late events on a server with continuous aggregates.
--
-- An event below the watermark does not wait for a refresh, because a refresh recomputes a range for every camera from
-- the raw rows that are left, erases where there are none, and needs transactions of its own and the owner's rights. So
-- the quarters, hours and days that the event touches are materialized in the transaction that stores it, for its
-- camera alone, from the view that a refresh would read.
--
-- Writers of different cameras work side by side, and beside a refresh:
--   * A writer locks the slots of its cameras in late_writers, in order. So one writer at a time replaces the rows of a
--     camera, and its statements see what the one before it has committed.
--   * A refresh deletes rows and inserts others. Where it came first, the writer gives way: it waits for a row for less
--     than the server's deadlock_timeout, fails with lock_not_available, and is tried again as a whole.
--   * Where the writer came first, the refresh may have computed its row without the late event, or insert a second one.
--     So a refresh ends with a wait for the writers in flight, and then removes what is there twice
--     (timeseries.keep_one_row in final_quarters.sql).

-- The quarters among these whose raw rows are gone, because materializing one of them again would lose what is kept.
-- Here and below nested loops are off, because a batch is large and a fresh aggregate has no statistics.
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

-- Materializes the quarters, hours and days that events touch. `added` is how many events of each quarter this
-- transaction has stored. Raises restrict_violation where a quarter was finalized before, because it counted more
-- samples than there are raw rows without those events. An ingest role may call this, and so the check is here and not
-- left to the caller.
CREATE FUNCTION timeseries.materialize(family text, camera_ids uuid[], quarters timestamptz[], added integer[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_nestloop = off SET lock_timeout = '5s'
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
DECLARE
    first_quarter timestamptz;
    last_quarter timestamptz;
    quarters_below timestamptz;
    hours_below timestamptz;
    days_below timestamptz;
    level record;
    grown integer;
    finalized bigint;
BEGIN
    SELECT min(q), max(q) INTO first_quarter, last_quarter FROM unnest(quarters) AS q;
    SELECT max(m.watermark) FILTER (WHERE m.level = 'quarter_hourly'), max(m.watermark) FILTER (WHERE m.level = 'hourly'),
           max(m.watermark) FILTER (WHERE m.level = 'weekday')
    INTO quarters_below, hours_below, days_below
    FROM timeseries.materializations AS m
    WHERE m.family = materialize.family;
    IF first_quarter >= greatest(quarters_below, hours_below, days_below) THEN
        RETURN;
    END IF;
    PERFORM FROM timeseries.late_writers AS l
    WHERE l.slot = ANY (ARRAY(SELECT uuid_hash(c) & 63 FROM unnest(camera_ids) AS c))
    ORDER BY l.slot FOR UPDATE;
    PERFORM set_config('timeseries.late_writer', pg_current_xact_id()::text, true),
            set_config('lock_timeout', '300ms', true);
    IF cardinality(quarters) = 1 AND date_bin('1 day', first_quarter, 'epoch') + interval '24 hours' <= quarters_below THEN
        IF family = 'occupancy' THEN
            grown := timeseries.materialize_occupancy_quarter(camera_ids[1], first_quarter, hours_below, days_below);
        ELSE
            grown := timeseries.materialize_health_quarter(camera_ids[1], first_quarter, hours_below, days_below);
        END IF;
        IF grown < greatest(added[1], 0) THEN
            RAISE EXCEPTION 'a quarter of an hour is finalized' USING ERRCODE = 'restrict_violation';
        END IF;
        PERFORM set_config('timeseries.late_writer', '', true);
        RETURN;
    END IF;
    FOR level IN
        SELECT m.level AS name, m.relation, m.definition, m.bucket AS width,
               date_bin(m.bucket, first_quarter, 'epoch') AS first_bucket,
               least(last_quarter, m.watermark - m.bucket) AS last_bucket
        FROM timeseries.materializations AS m
        WHERE m.family = materialize.family AND m.watermark > first_quarter
        ORDER BY m.bucket
    LOOP
        EXECUTE format(
            'WITH touched AS MATERIALIZED (
                 SELECT c AS camera_id, date_bin($1, q, ''epoch'') AS bucket, sum(greatest(n, 0)) AS added
                 FROM unnest($2, $3, $4) AS t (c, q, n)
                 GROUP BY 1, 2
             ), deleted AS (
                 DELETE FROM %1$s AS m USING touched AS t
                 WHERE m.camera_id = t.camera_id AND m.bucket = t.bucket
                   AND m.camera_id = ANY ($2) AND m.bucket BETWEEN $5 AND $6
                 RETURNING m.camera_id, m.bucket, m.samples + coalesce(t.added, 0) AS samples
             ), inserted AS (
                 INSERT INTO %1$s
                 SELECT d.* FROM %2$s AS d
                 WHERE d.camera_id = ANY ($2) AND d.bucket BETWEEN $5 AND $6
                   AND (d.camera_id, d.bucket) IN (SELECT t.camera_id, t.bucket FROM touched AS t)
                 RETURNING camera_id, bucket, samples
             )
             SELECT count(*) FROM deleted AS d
             LEFT JOIN inserted AS i ON i.camera_id = d.camera_id AND i.bucket = d.bucket
             WHERE d.samples > coalesce(i.samples, 0)', level.relation, level.definition)
        INTO finalized USING level.width, camera_ids, quarters, added, level.first_bucket, level.last_bucket;
        IF finalized > 0 AND level.name = 'quarter_hourly' THEN
            RAISE EXCEPTION 'a quarter of an hour is finalized' USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
    PERFORM set_config('timeseries.late_writer', '', true);
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
