-- The share of a lot that is occupied: the time-weighted mean of the count divided by the capacity of that moment, over
-- the time in which both are known. Between two changes of the capacity the buckets are those of occupancy_buckets, and
-- a bucket, weekday or hour in which it changes is put together from them, so that the share is as exact as these.

CREATE FUNCTION timeseries.occupancy_share_buckets(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text, width text,
    per text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, label integer, occupied_share double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    WITH spans AS (
        SELECT s.camera_id, s.capacity, nullif(greatest(s.start_at, range_start), '-infinity') AS start_at,
               nullif(least(s.end_at, range_end), 'infinity') AS end_at
        FROM timeseries.capacity_spans(camera_ids) AS s
        WHERE s.capacity IS NOT NULL AND s.end_at > coalesce(range_start, '-infinity')
          AND s.start_at < coalesce(range_end, now())
    )
    SELECT b.camera_id, b.bucket, b.local_start, b.label,
           sum(b.car_seconds / s.capacity) / sum(b.known_seconds)
    FROM (SELECT s.start_at, s.end_at, array_agg(s.camera_id) AS ids FROM spans AS s GROUP BY s.start_at, s.end_at) AS a
    CROSS JOIN LATERAL timeseries.occupancy_buckets(a.ids, a.start_at, a.end_at, width, time_zone, per, calendar) AS b
    JOIN spans AS s ON s.camera_id = b.camera_id AND s.start_at IS NOT DISTINCT FROM a.start_at
                   AND s.end_at IS NOT DISTINCT FROM a.end_at
    WHERE b.known_seconds > 0
    GROUP BY b.camera_id, b.bucket, b.local_start, b.label
$$;

CREATE FUNCTION public.occupancy_shares(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, width text DEFAULT 'hour', calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (camera_id uuid, bucket timestamptz, local_start timestamp, occupied_share double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.bucket, b.local_start, b.occupied_share
    FROM timeseries.occupancy_share_buckets($1, $2, $3, $4, timeseries.bucket_width($5), NULL, $6) AS b
$$;
COMMENT ON FUNCTION public.occupancy_shares IS
    'A row per camera and local bucket of this width (as in occupancy_averages) in which a count and the capacity are '
    'known: the time-weighted mean of the count divided by the capacity of that time.';
