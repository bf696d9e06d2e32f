-- Quarters of one camera that another store summarized, in the temporary table `incoming`: they are kept as if retention
-- had removed their raw rows here, and so they are finalized. For the owner, who may write there.

-- To the end of the transaction nobody stores events that may be older than a day, and nothing is pruned: the lock is
-- that of timeseries.prune_day.
CREATE FUNCTION timeseries.hold_quarters(family text, camera uuid)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('LOCK TABLE timeseries.%I IN EXCLUSIVE MODE', family || '_kept');
END
$$;

-- Returns how many rows were taken. No raw row and no other row of these quarters may be here.
CREATE FUNCTION timeseries.import_quarters(family text, camera uuid)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    imported bigint;
BEGIN
    EXECUTE format('INSERT INTO timeseries.%I SELECT * FROM pg_temp.incoming', family || '_kept');
    GET DIAGNOSTICS imported = ROW_COUNT;
    RETURN imported;
END
$$;

REVOKE EXECUTE ON FUNCTION timeseries.hold_quarters, timeseries.import_quarters FROM PUBLIC;
