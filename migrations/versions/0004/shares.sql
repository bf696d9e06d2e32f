-- The share of a group that is occupied, as that of a camera: of the sum of the capacities of its members at that time.

-- The spans of each group between changes of its members or of their capacities; the capacity is NULL where one of them
-- is unknown. Where a group has no member there is no span.
CREATE FUNCTION timeseries.group_capacity_spans(group_ids uuid[])
RETURNS TABLE (group_id uuid, start_at timestamptz, end_at timestamptz, capacity bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    WITH members AS (
        SELECT m.group_id, greatest(m.since, s.start_at) AS start_at, least(m.until, s.end_at) AS end_at, s.capacity
        FROM public.group_members AS m
        JOIN timeseries.capacity_spans(ARRAY(
            SELECT m.camera_id FROM public.group_members AS m WHERE group_ids IS NULL OR m.group_id = ANY (group_ids)
        )) AS s ON s.camera_id = m.camera_id AND (s.start_at < m.until) IS NOT FALSE AND (s.end_at > m.since) IS NOT FALSE
        WHERE group_ids IS NULL OR m.group_id = ANY (group_ids)
    ),
    spans AS (
        SELECT e.group_id, e.at AS start_at, lead(e.at) OVER (PARTITION BY e.group_id ORDER BY e.at) AS end_at
        FROM (
            SELECT m.group_id, m.start_at AS at FROM members AS m UNION SELECT m.group_id, m.end_at FROM members AS m
        ) AS e
    )
    SELECT s.group_id, s.start_at, s.end_at,
           CASE WHEN count(m.capacity) = count(*) THEN sum(m.capacity) END
    FROM spans AS s
    JOIN members AS m ON m.group_id = s.group_id AND m.start_at <= s.start_at AND m.end_at >= s.end_at
    GROUP BY s.group_id, s.start_at, s.end_at
$$;

CREATE FUNCTION timeseries.group_share_buckets(
    group_ids uuid[], range_start timestamptz, range_end timestamptz, time_zone text, width text,
    per text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, bucket timestamptz, local_start timestamp, label integer, occupied_share double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.group_id, b.bucket, b.local_start, b.label,
           sum(b.car_seconds / s.capacity) / sum(b.counted_seconds)
    FROM (
        SELECT s.group_id, s.capacity, nullif(greatest(s.start_at, range_start), '-infinity') AS start_at,
               nullif(least(s.end_at, range_end), 'infinity') AS end_at
        FROM timeseries.group_capacity_spans(group_ids) AS s
        WHERE s.capacity IS NOT NULL AND s.end_at > coalesce(range_start, '-infinity')
          AND s.start_at < coalesce(range_end, now())
    ) AS s
    CROSS JOIN LATERAL timeseries.group_buckets(
        ARRAY[s.group_id], s.start_at, s.end_at, width, time_zone, 0, per, calendar) AS b
    WHERE b.counted_seconds > 0
    GROUP BY b.group_id, b.bucket, b.local_start, b.label
$$;

CREATE FUNCTION public.group_shares(
    group_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, width text DEFAULT 'hour', calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (group_id uuid, bucket timestamptz, local_start timestamp, occupied_share double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.group_id, b.bucket, b.local_start, b.occupied_share
    FROM timeseries.group_share_buckets($1, $2, $3, $4, timeseries.bucket_width($5), NULL, $6) AS b
$$;
COMMENT ON FUNCTION public.group_shares IS
    'A row per group and local bucket of this width (as in group_averages) in which time counts and the capacity of all '
    'members is known: the time-weighted mean of the sum of counts divided by the sum of capacities of that time.';
