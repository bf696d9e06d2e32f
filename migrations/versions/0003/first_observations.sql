-- The first observation of each of these cameras. The bounds are variables for the reason that buckets.sql gives.
CREATE FUNCTION timeseries.first_observations(camera_ids uuid[])
RETURNS TABLE (camera_id uuid, first_at timestamptz) LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
    marks          CONSTANT record := timeseries.watermarks('occupancy');
    days_until     CONSTANT timestamptz := marks.days_until;
    quarters_until CONSTANT timestamptz := marks.quarters_until;
    raw_from       CONSTANT timestamptz := marks.raw_from;
BEGIN
    RETURN QUERY
    SELECT c.id, least(
        (SELECT r.first_at FROM timeseries.occupancy_stored_days AS r
         WHERE r.camera_id = c.id AND r.bucket < days_until
         ORDER BY r.bucket, r.first_at LIMIT 1),
        (SELECT r.first_at FROM timeseries.occupancy_stored_quarters AS r
         WHERE r.camera_id = c.id AND r.bucket >= days_until AND r.bucket < quarters_until
         ORDER BY r.bucket LIMIT 1),
        (SELECT e."timestamp" FROM public.occupancy_events AS e
         WHERE e.camera_id = c.id AND e."timestamp" >= raw_from
         ORDER BY e."timestamp" LIMIT 1))
    FROM unnest(camera_ids) AS c (id);
END
$$;
