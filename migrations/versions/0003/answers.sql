-- The other exact answers: groupings of the local buckets of timeseries.occupancy_buckets and
-- timeseries.health_buckets. Their columns are those of occupancy_by_bucket.sql; in each, only time of the calendar counts.

CREATE FUNCTION public.occupancy_weekdays(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, weekday integer, occupied_avg double precision, occupied_min integer, occupied_max integer,
    samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.label, b.car_seconds / nullif(b.known_seconds, 0), b.occupied_min, b.occupied_max, b.samples,
           b.known_seconds / b.span_seconds
    FROM timeseries.occupancy_buckets($1, $2, $3, 'day', $4, 'weekday', $5) AS b
$$;
COMMENT ON FUNCTION public.occupancy_weekdays IS
    'A row per camera and local weekday (ISO: Monday 1 to Sunday 7) over all such days of the range: time-weighted '
    'average, minimum, maximum, samples, and coverage (the known share of those days).';

CREATE FUNCTION public.occupancy_profile(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, weekday integer, hour integer, occupied_avg double precision, occupied_min integer,
    occupied_max integer, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.label / 24, b.label % 24, b.car_seconds / nullif(b.known_seconds, 0), b.occupied_min,
           b.occupied_max, b.samples, b.known_seconds / b.span_seconds
    FROM timeseries.occupancy_buckets($1, $2, $3, 'hour', $4, 'profile', $5) AS b
$$;
COMMENT ON FUNCTION public.occupancy_profile IS
    'A row per camera, local weekday (ISO) and hour of the day (0 to 23), over all such hours of the range.';

CREATE FUNCTION public.occupancy_peaks(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, number integer DEFAULT 10, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, occupied_avg double precision, occupied_min integer,
    occupied_max integer, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT r.camera_id, r.bucket, r.local_start, r.occupied_avg, r.occupied_min, r.occupied_max, r.samples, r.coverage
    FROM (
        SELECT h.*, row_number() OVER (PARTITION BY h.camera_id ORDER BY h.occupied_avg DESC, h.bucket) AS place
        FROM public.occupancy_hours($1, $2, $3, $4, $6) AS h
        WHERE h.occupied_avg IS NOT NULL
    ) AS r
    WHERE r.place <= $5
    ORDER BY r.camera_id, r.place
$$;
COMMENT ON FUNCTION public.occupancy_peaks IS
    'The busiest local hours of each camera in the range, busiest first; of equal ones the earlier first.';

CREATE FUNCTION public.health_hours(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, healthy_share double precision,
    degraded_share double precision, disconnected_share double precision, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.bucket, b.local_start, b.healthy_seconds / k.known, b.degraded_seconds / k.known,
           b.disconnected_seconds / k.known, b.samples, coalesce(k.known, 0) / b.span_seconds
    FROM timeseries.health_buckets($1, $2, $3, 'hour', $4, NULL, $5) AS b
    CROSS JOIN LATERAL (
        SELECT nullif(b.healthy_seconds + b.degraded_seconds + b.disconnected_seconds, 0) AS known
    ) AS k
$$;
COMMENT ON FUNCTION public.health_hours IS
    'A row per camera and local hour of the range: the share of the known time in each status, samples, coverage.';

CREATE FUNCTION public.health_weekdays(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, weekday integer, healthy_share double precision, degraded_share double precision,
    disconnected_share double precision, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.label, b.healthy_seconds / k.known, b.degraded_seconds / k.known,
           b.disconnected_seconds / k.known, b.samples, coalesce(k.known, 0) / b.span_seconds
    FROM timeseries.health_buckets($1, $2, $3, 'day', $4, 'weekday', $5) AS b
    CROSS JOIN LATERAL (
        SELECT nullif(b.healthy_seconds + b.degraded_seconds + b.disconnected_seconds, 0) AS known
    ) AS k
$$;
COMMENT ON FUNCTION public.health_weekdays IS
    'A row per camera and local weekday (ISO) over all such days of the range: share of the known time per status.';

CREATE FUNCTION public.health_uptime(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, healthy_share double precision, degraded_share double precision,
    disconnected_share double precision, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    SELECT b.camera_id, b.healthy_seconds / k.known, b.degraded_seconds / k.known, b.disconnected_seconds / k.known,
           b.samples, coalesce(k.known, 0) / b.span_seconds
    FROM timeseries.health_buckets($1, $2, $3, 'day', $4, 'range', $5) AS b
    CROSS JOIN LATERAL (
        SELECT nullif(b.healthy_seconds + b.degraded_seconds + b.disconnected_seconds, 0) AS known
    ) AS k
$$;
COMMENT ON FUNCTION public.health_uptime IS
    'A row per camera: the share of the known time of the range in each status, samples, coverage.';
