-- A session that stores late events, imports averages or prunes during a promotion fails with lock_not_available, so that it
-- tries again, because the tables that these write are about to go.
LOCK TABLE timeseries.occupancy_kept, timeseries.health_kept IN EXCLUSIVE MODE;
CREATE OR REPLACE FUNCTION timeseries.sealed(family text, camera_ids uuid[], quarters timestamptz[])
RETURNS TABLE (camera_id uuid, quarter timestamptz) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RAISE EXCEPTION 'the database is being moved up' USING ERRCODE = 'lock_not_available';
END
$$;
CREATE OR REPLACE FUNCTION timeseries.prune_day(family text, day timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RAISE EXCEPTION 'the database is being moved up' USING ERRCODE = 'lock_not_available';
END
$$;
CREATE OR REPLACE FUNCTION timeseries.hold_quarters(family text, camera uuid)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the database is being moved up' USING ERRCODE = 'lock_not_available';
END
$$;
