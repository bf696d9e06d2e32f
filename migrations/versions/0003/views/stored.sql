-- The kept quarters under the names that materializations have on Community, because answers read the same relations on
-- every kind of server. Kept quarters and raw rows may be of any time, but never of the same quarter. Hours and days
-- are not kept, so those relations are empty.

CREATE VIEW timeseries.occupancy_stored_quarters AS SELECT * FROM timeseries.occupancy_kept;
CREATE VIEW timeseries.occupancy_stored_hours AS SELECT * FROM timeseries.occupancy_kept WHERE false;
CREATE VIEW timeseries.occupancy_stored_days AS SELECT * FROM timeseries.occupancy_kept WHERE false;
CREATE VIEW timeseries.health_stored_quarters AS SELECT * FROM timeseries.health_kept;
CREATE VIEW timeseries.health_stored_hours AS SELECT * FROM timeseries.health_kept WHERE false;
CREATE VIEW timeseries.health_stored_days AS SELECT * FROM timeseries.health_kept WHERE false;

CREATE FUNCTION timeseries.watermarks(
    family text, OUT days_until timestamptz, OUT hours_until timestamptz, OUT quarters_until timestamptz,
    OUT raw_from timestamptz
) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT timestamptz '-infinity', timestamptz '-infinity', timestamptz 'infinity', timestamptz '-infinity'
$$;
