-- Late events on a server with continuous aggregates.
--
-- An event below the watermark does not wait for a refresh, because a refresh recomputes a range for every camera from
-- the raw rows that are left, erases where there are none, and needs transactions of its own and the owner's rights. So
-- the quarters, hours and days that the event touches are materialized in the transaction that stores it, for its
-- camera alone, from the view that a refresh would read.
--
-- Writers of different cameras work side by side, and beside a refresh:
--   * A writer locks slots of late_writers, in order: of its hours, then of its cameras. So one writer at a time replaces
--     the rows of a camera, and its statements see what the one before it has committed.
--   * A refresh deletes rows and inserts others. Where it came first, the writer of a single event meets a row that it
--     cannot have. It lets go of its slots, because the refresh will want them, and waits for the rows without any. A
--     writer of many fails with lock_not_available, and is tried again as a whole.
--   * Where the writer came first, the refresh may have computed its row without the late event, or insert a second one.
--     So a refresh ends with a wait for the writers in its hours, and then removes what is there twice
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

-- Held to the end of the transaction, or of the block with an EXCEPTION clause.
CREATE FUNCTION timeseries.lock_late_slots(camera_ids uuid[], quarters timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM timeseries.late_writers AS l
    WHERE l.slot = ANY (ARRAY(
        SELECT timeseries.late_slot(t.q) + (uuid_hash(t.c) & 15) FROM unnest(camera_ids, quarters) AS t (c, q)
        UNION
        SELECT 64 * 16 + (uuid_hash(t.c) & 255) FROM unnest(camera_ids) AS t (c)))
    ORDER BY l.slot FOR UPDATE;
END
$$;

-- One quarter with its hour and day, beside refreshes. Returns by how many samples the quarter grew. A row that a refresh
-- has deleted is waited for by doing the same without slots, which is rolled back. That is tried for five seconds,
-- because the caller has to answer for longer waits.
CREATE FUNCTION timeseries.materialize_single(
    family text, late_camera uuid, late_quarter timestamptz, hours_below timestamptz, days_below timestamptz
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    is_waiting boolean := false;
    grown integer;
BEGIN
    LOOP
        BEGIN
            IF NOT is_waiting THEN
                PERFORM timeseries.lock_late_slots(ARRAY[late_camera], ARRAY[late_quarter]),
                        set_config('lock_timeout', '10ms', true);
            END IF;
            IF family = 'occupancy' THEN
                grown := timeseries.materialize_occupancy_quarter(late_camera, late_quarter, hours_below, days_below);
            ELSE
                grown := timeseries.materialize_health_quarter(late_camera, late_quarter, hours_below, days_below);
            END IF;
            IF NOT is_waiting THEN
                RETURN grown;
            END IF;
            RAISE lock_not_available;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > statement_timestamp() + interval '5 seconds' THEN
                RAISE;
            END IF;
            is_waiting := NOT is_waiting;
        END;
    END LOOP;
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
    PERFORM set_config('timeseries.late_writer', pg_current_xact_id()::text, true);
    IF cardinality(quarters) = 1 AND quarters_below >= (CASE
        WHEN date_bin('1 day', first_quarter, 'epoch') < days_below
            THEN date_bin('1 day', first_quarter, 'epoch') + interval '24 hours'
        WHEN date_bin('1 hour', first_quarter, 'epoch') < hours_below
            THEN date_bin('1 hour', first_quarter, 'epoch') + interval '1 hour'
        ELSE first_quarter + interval '15 minutes' END)
    THEN
        grown := timeseries.materialize_single(family, camera_ids[1], first_quarter, hours_below, days_below);
        IF grown < greatest(added[1], 0) THEN
            RAISE EXCEPTION 'a quarter of an hour is finalized' USING ERRCODE = 'restrict_violation';
        END IF;
        PERFORM set_config('timeseries.late_writer', '', true);
        RETURN;
    END IF;
    PERFORM timeseries.lock_late_slots(camera_ids, quarters), set_config('lock_timeout', '300ms', true);
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
