-- What is unusual for the weekday and hour: the last local hour that is over beside the same local hour of the same
-- weekday in the weeks before. Each of these hours is asked for by itself, because a typical week of all cameras would
-- compute 168 hours of each week for one that is looked at.
CREATE FUNCTION public.occupancy_unusual(
    camera_ids uuid[] DEFAULT NULL, at timestamptz DEFAULT NULL, weeks integer DEFAULT 8,
    deviations double precision DEFAULT 4
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, local_start timestamp, occupied_avg double precision,
    coverage double precision, expected double precision, lower double precision, upper double precision,
    weeks_known integer, unusual boolean
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    WITH zones AS (
        SELECT c.timezone AS zone, array_agg(c.id) AS ids
        FROM public.cameras AS c
        WHERE $1 IS NULL OR c.id = ANY ($1)
        GROUP BY c.timezone
    ),
    hours AS (
        SELECT z.zone, z.ids, now_.bucket, now_.local_start
        FROM zones AS z
        CROSS JOIN LATERAL (
            SELECT h.bucket, h.local_start
            FROM timeseries.local_hours(coalesce($2, now()) - interval '2 hours', coalesce($2, now()), z.zone) AS h
            WHERE h.bucket_end <= coalesce($2, now())
            ORDER BY h.bucket DESC
            LIMIT 1
        ) AS now_
    ),
    seen AS (
        SELECT h.bucket AS now_bucket, h.local_start AS now_start, ago, o.camera_id, o.occupied_avg, o.coverage
        FROM hours AS h
        CROSS JOIN generate_series(0, $3) AS ago
        CROSS JOIN LATERAL (
            SELECT CASE ago WHEN 0 THEN h.bucket
                   ELSE (h.local_start - ago * interval '7 days') AT TIME ZONE h.zone END AS bucket
        ) AS then_
        CROSS JOIN LATERAL public.occupancy_hours(h.ids, then_.bucket, then_.bucket + interval '1 hour', h.zone) AS o
        WHERE o.bucket = then_.bucket
    ),
    typical AS (
        SELECT s.camera_id, s.now_bucket, s.now_start,
               max(s.occupied_avg) FILTER (WHERE s.ago = 0) AS occupied_avg,
               max(s.coverage) FILTER (WHERE s.ago = 0) AS coverage,
               avg(s.occupied_avg) FILTER (WHERE s.ago > 0 AND s.coverage >= 0.5) AS expected,
               stddev_samp(s.occupied_avg) FILTER (WHERE s.ago > 0 AND s.coverage >= 0.5) AS deviation,
               (count(*) FILTER (WHERE s.ago > 0 AND s.coverage >= 0.5))::integer AS weeks_known
        FROM seen AS s
        GROUP BY s.camera_id, s.now_bucket, s.now_start
    )
    SELECT t.camera_id, t.now_bucket, t.now_start, t.occupied_avg, t.coverage, t.expected,
           CASE WHEN b.width IS NOT NULL THEN greatest(t.expected - b.width, 0) END, t.expected + b.width,
           t.weeks_known,
           coalesce(t.coverage >= 0.5 AND abs(t.occupied_avg - t.expected) > b.width, false)
    FROM typical AS t
    CROSS JOIN LATERAL (
        -- The deviation of one more week from the mean of so many. At least a car, because weeks may all be alike.
        SELECT CASE WHEN t.weeks_known >= 4
               THEN greatest($4 * t.deviation * sqrt(1 + 1.0 / t.weeks_known), 1) END AS width
    ) AS b
$$;
COMMENT ON FUNCTION public.occupancy_unusual IS
    'A row per camera: the last local hour that is over at a moment (now), what is expected of it by the same hour of the '
    'same weekday in the weeks before, and whether it lies further from that than so many standard deviations.';
