-- When whole backups were taken, the last of each kind. Neither pg_dump nor pgBackRest leaves a record in the database,
-- so whoever takes one says so. The function is all that this takes: the role of backups gets EXECUTE on it, and no
-- right on the table.
CREATE TABLE timeseries.backups (
    kind text CONSTRAINT pk_backups PRIMARY KEY,
    taken_at timestamptz NOT NULL
);

CREATE FUNCTION timeseries.record_backup(kind text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO timeseries.backups AS b (kind, taken_at)
    VALUES (left($1, 60), clock_timestamp())
    ON CONFLICT ON CONSTRAINT pk_backups DO UPDATE SET taken_at = excluded.taken_at
$$;

REVOKE EXECUTE ON FUNCTION timeseries.record_backup FROM PUBLIC;
