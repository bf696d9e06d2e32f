-- Quarters of one camera that another store summarized, in the temporary table `incoming`: they are materialized as if
-- retention had removed their raw rows here, and so they are finalized. For the owner, who may write there.

-- To the end of the transaction nobody else materializes quarters of this camera, and a refresh of their hours waits.
CREATE FUNCTION timeseries.hold_quarters(family text, camera uuid)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_quarter timestamptz;
    last_quarter timestamptz;
BEGIN
    EXECUTE 'SELECT min(bucket), max(bucket) FROM pg_temp.incoming' INTO first_quarter, last_quarter;
    PERFORM timeseries.lock_late_slots(array_agg(camera), array_agg(h))
    FROM generate_series(date_bin('3 hours', first_quarter, 'epoch'), last_quarter, interval '3 hours') AS h;
END
$$;

-- Returns how many rows were taken. No raw row and no other row of these quarters may be here. The hours and days that
-- they touch are computed from all quarters of the camera, with its zone and hold.
CREATE FUNCTION timeseries.import_quarters(family text, camera uuid)
RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '300ms'
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
DECLARE
    first_quarter timestamptz;
    last_quarter timestamptz;
    level record;
    imported bigint := 0;
BEGIN
    EXECUTE 'SELECT min(bucket), max(bucket) FROM pg_temp.incoming' INTO first_quarter, last_quarter;
    PERFORM set_config('timeseries.late_writer', pg_current_xact_id()::text, true);
    FOR level IN
        SELECT m.level AS name, m.relation, m.definition, date_bin(m.bucket, first_quarter, 'epoch') AS first_bucket,
               m.watermark <= last_quarter AS is_behind
        FROM timeseries.materializations AS m
        WHERE m.family = import_quarters.family
        ORDER BY m.bucket
    LOOP
        IF level.is_behind THEN
            RAISE EXCEPTION '% ends before %', level.relation, last_quarter
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        IF level.name = 'quarter_hourly' THEN
            EXECUTE format('INSERT INTO %s SELECT * FROM pg_temp.incoming', level.relation);
            GET DIAGNOSTICS imported = ROW_COUNT;
        ELSE
            EXECUTE format('DELETE FROM %s WHERE camera_id = $1 AND bucket BETWEEN $2 AND $3', level.relation)
            USING camera, level.first_bucket, last_quarter;
            EXECUTE format('INSERT INTO %s SELECT d.* FROM %s AS d WHERE d.camera_id = $1 AND d.bucket BETWEEN $2 AND $3',
                           level.relation, level.definition)
            USING camera, level.first_bucket, last_quarter;
        END IF;
    END LOOP;
    PERFORM set_config('timeseries.late_writer', '', true);
    RETURN imported;
END
$$;

REVOKE EXECUTE ON FUNCTION timeseries.hold_quarters, timeseries.import_quarters FROM PUBLIC;
