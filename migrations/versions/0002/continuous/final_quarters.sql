-- Triggers on what is materialized: whatever a refresh does, from a job or by hand, no average is erased or doubled.

-- Writers of late events and refreshes lock rows of this table (late_events.sql): sixteen for each three hours, of which
-- there are 64 in turn, and 256 more for cameras. A writer locks one of its three hours and one of its camera, by the
-- hash of the id; a refresh locks all of the hours that it computes. So they wait for each other only where they write
-- the same. Locks of rows and no advisory locks, because every reader may take those.
CREATE TABLE timeseries.late_writers (slot integer CONSTRAINT pk_late_writers PRIMARY KEY);
INSERT INTO timeseries.late_writers SELECT generate_series(0, 64 * 16 + 255);

-- The first slot of the three hours of a moment.
CREATE FUNCTION timeseries.late_slot(moment timestamptz) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ((date_part('epoch', date_bin('3 hours', moment, 'epoch')) / 10800)::bigint & 63)::integer * 16
$$;

-- A quarter is finalized if it counted more raw rows than there are now, because no refresh can compute anything better:
-- such a row is neither deleted nor replaced. Quarters younger than a day are not checked, because retention keeps at
-- least two days of raw rows. Hours and days need no such trigger, because they are computed from quarters.
--
-- Three hours of all cameras are compared at once, because a query for each row takes longer than the refresh itself. The
-- outcome is kept in two settings, as multiranges of seconds since 1970. They begin empty with every statement, so that
-- no session can bring its own. A writer of late events has its own check (timeseries.materialize).
CREATE FUNCTION timeseries.begin_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('timeseries.complete', '{}', true), set_config('timeseries.incomplete', '{}', true);
    RETURN NULL;
END
$$;

CREATE FUNCTION timeseries.keep_sealed_quarter() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_bucket timestamptz := date_bin('3 hours', OLD.bucket, 'epoch');
    span int8range := int8range(date_part('epoch', first_bucket)::bigint, date_part('epoch', first_bucket)::bigint + 10800);
    outcome text := 'timeseries.incomplete';
    is_final boolean;
BEGIN
    IF NOT range_contained_by_multirange(span, current_setting(outcome)::int8multirange) THEN
        EXECUTE format(
            'SELECT EXISTS (
                 SELECT FROM %I.%I AS m
                 LEFT JOIN (
                     SELECT e.camera_id, date_bin(''15 minutes'', e."timestamp", ''epoch'') AS bucket, count(*) AS samples
                     FROM public.%I AS e
                     WHERE e."timestamp" >= $1 AND e."timestamp" < $1 + interval ''3 hours''
                     GROUP BY 1, 2
                 ) AS raw ON raw.camera_id = m.camera_id AND raw.bucket = m.bucket
                 WHERE m.bucket >= $1 AND m.bucket < $1 + interval ''3 hours'' AND m.samples > coalesce(raw.samples, 0))',
            TG_TABLE_SCHEMA, TG_ARGV[1], TG_ARGV[0])
        INTO is_final USING first_bucket;
        outcome := CASE WHEN is_final THEN outcome ELSE 'timeseries.complete' END;
        PERFORM set_config(outcome, (current_setting(outcome)::int8multirange + span::int8multirange)::text, true);
    END IF;
    IF is_final IS DISTINCT FROM false THEN
        EXECUTE format(
            'SELECT count(*) < $4 FROM public.%I WHERE camera_id = $1 AND "timestamp" >= $2 AND "timestamp" < $3',
            TG_ARGV[0])
        INTO is_final USING OLD.camera_id, OLD.bucket, OLD.bucket + interval '15 minutes', OLD.samples;
    END IF;
    RETURN CASE WHEN is_final THEN NULL WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

-- After an insert that is not a late writer's there is one row of each camera and bucket: not the one of a finalized
-- quarter and another of a stray raw row, nor that of a late event and that of a refresh which did not see the event.
-- The row that counts more samples stays, and of equals the one that was there before.
CREATE FUNCTION timeseries.keep_one_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
DECLARE
    relation text := format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
    first_bucket timestamptz;
    last_bucket timestamptz;
    is_doubled boolean;
BEGIN
    SELECT min(bucket), max(bucket) INTO first_bucket, last_bucket FROM inserted;
    IF first_bucket IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM FROM timeseries.late_writers AS l
    WHERE l.slot - l.slot % 16 IN (
        SELECT timeseries.late_slot(h)
        FROM generate_series(first_bucket, last_bucket + TG_ARGV[1]::interval - interval '15 minutes', '15 minutes') AS h
    ) AND l.slot < 64 * 16
    ORDER BY l.slot FOR UPDATE;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE bucket BETWEEN $1 AND $2 GROUP BY %s HAVING count(*) > 1)',
                   relation, TG_ARGV[0])
    INTO is_doubled USING first_bucket, last_bucket;
    IF is_doubled THEN
        EXECUTE format(
            'WITH doubled AS MATERIALIZED (
                 SELECT %2$s FROM %1$s WHERE bucket BETWEEN $1 AND $2 GROUP BY %2$s HAVING count(*) > 1
             ), best AS MATERIALIZED (
                 SELECT DISTINCT ON (%2$s) m.*
                 FROM %1$s AS m
                 JOIN doubled USING (%2$s)
                 LEFT JOIN inserted AS i USING (%2$s)
                 WHERE m.bucket BETWEEN $1 AND $2
                 ORDER BY %2$s, m.samples DESC, ROW (m.*) IS NOT DISTINCT FROM ROW (i.*)
             ), deleted AS (
                 DELETE FROM %1$s AS m USING doubled
                 WHERE (m.%3$s) = (doubled.%4$s) AND m.bucket BETWEEN $1 AND $2
             )
             INSERT INTO %1$s SELECT * FROM best',
            relation, TG_ARGV[0], replace(TG_ARGV[0], ', ', ', m.'), replace(TG_ARGV[0], ', ', ', doubled.'))
        USING first_bucket, last_bucket;
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    materialized record;
    not_ours text := 'pg_trigger_depth() = 0 AND'
                     ' current_setting(''timeseries.late_writer'', true) IS DISTINCT FROM'
                     ' pg_current_xact_id_if_assigned()::text';
BEGIN
    FOR materialized IN
        SELECT m.relation, m.hypertable_name AS name, m.level, m.bucket,
               CASE m.family WHEN 'occupancy' THEN 'occupancy_events' ELSE 'health_logs' END AS events,
               CASE m.level WHEN 'weekday' THEN 'camera_id, bucket, local_date' ELSE 'camera_id, bucket' END AS key
        FROM timeseries.materializations AS m
        WHERE m.family IS NOT NULL
    LOOP
        EXECUTE format(
            'CREATE TRIGGER keep_one_row AFTER INSERT ON %s REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT
             WHEN (%s) EXECUTE FUNCTION timeseries.keep_one_row(%L, %L)',
            materialized.relation, not_ours, materialized.key, materialized.bucket);
        CONTINUE WHEN materialized.level <> 'quarter_hourly';
        EXECUTE format(
            'CREATE TRIGGER begin_check BEFORE UPDATE OR DELETE ON %1$s FOR EACH STATEMENT
             EXECUTE FUNCTION timeseries.begin_check();
             CREATE TRIGGER keep_sealed_quarter BEFORE UPDATE OR DELETE ON %1$s FOR EACH ROW
             WHEN (OLD.bucket < now() - interval ''24 hours'' AND %2$s AND NOT elem_contained_by_multirange(
                       date_part(''epoch'', OLD.bucket)::bigint, current_setting(''timeseries.complete'')::int8multirange))
             EXECUTE FUNCTION timeseries.keep_sealed_quarter(%3$L, %4$L)',
            materialized.relation, not_ours, materialized.events, materialized.name);
    END LOOP;
END
$$;
