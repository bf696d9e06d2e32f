-- What the six relations say, one block each. A migration makes them continuous aggregates or views.
-- $quarter, $hour, $day: the UTC-aligned bucket, by time_bucket() or date_bin().
-- $summary: the ordered aggregate of the block's family and level, spelled once in the migration.
-- max(c.hold) and max(c.timezone) are the camera's: a grouping by them would store both in every row.
-- A last observation stands until the end of the bucket (or local day), at most for the camera's hold.

-- block: occupancy_quarter_hourly
SELECT
    camera_id,
    $quarter AS bucket,
    count(*)::integer AS samples,
    min(occupied_count) AS occupied_min,
    max(occupied_count) AS occupied_max,
    (($summary).car_seconds + ($summary).last_count * (900 - date_part('epoch', max("timestamp") - $quarter)))
        / (900 - date_part('epoch', min("timestamp") - $quarter)) AS occupied_avg,
    ($summary).first_at,
    ($summary).first_count,
    ($summary).last_at,
    ($summary).last_count,
    ($summary).car_seconds,
    ($summary).known_seconds
FROM public.occupancy_events
GROUP BY camera_id, $quarter

-- block: occupancy_hourly
SELECT
    q.camera_id,
    $hour AS bucket,
    sum(q.samples)::integer AS samples,
    min(q.occupied_min) AS occupied_min,
    max(q.occupied_max) AS occupied_max,
    (($summary).car_seconds + ($summary).last_count
        * least(3600 - date_part('epoch', max(q.last_at) - $hour), date_part('epoch', max(c.hold))))
        / (($summary).known_seconds
        + least(3600 - date_part('epoch', max(q.last_at) - $hour), date_part('epoch', max(c.hold)))) AS occupied_avg,
    ($summary).first_at,
    ($summary).first_count,
    ($summary).last_at,
    ($summary).last_count,
    ($summary).car_seconds,
    ($summary).known_seconds
FROM public.occupancy_quarter_hourly AS q
JOIN public.cameras AS c ON c.id = q.camera_id
GROUP BY q.camera_id, $hour

-- block: occupancy_weekday
SELECT
    q.camera_id,
    $day AS bucket,
    (q.bucket AT TIME ZONE c.timezone)::date AS local_date,
    extract(isodow FROM (q.bucket AT TIME ZONE c.timezone)::date)::integer AS weekday,
    sum(q.samples)::integer AS samples,
    min(q.occupied_min) AS occupied_min,
    max(q.occupied_max) AS occupied_max,
    (($summary).car_seconds + ($summary).last_count
        * least(86400 - date_part('epoch', max(q.last_at) - $day), date_part('epoch', $midnight - max(q.last_at)),
                date_part('epoch', max(c.hold))))
        / (($summary).known_seconds
        + least(86400 - date_part('epoch', max(q.last_at) - $day), date_part('epoch', $midnight - max(q.last_at)),
                date_part('epoch', max(c.hold)))) AS occupied_avg,
    ($summary).first_at,
    ($summary).first_count,
    ($summary).last_at,
    ($summary).last_count,
    ($summary).car_seconds,
    ($summary).known_seconds
FROM public.occupancy_quarter_hourly AS q
JOIN public.cameras AS c ON c.id = q.camera_id
GROUP BY q.camera_id, $day, (q.bucket AT TIME ZONE c.timezone)::date

-- block: health_quarter_hourly
SELECT
    camera_id,
    $quarter AS bucket,
    count(*)::integer AS samples,
    (count(*) FILTER (WHERE status = 'healthy'))::integer AS healthy_samples,
    (count(*) FILTER (WHERE status = 'degraded'))::integer AS degraded_samples,
    (count(*) FILTER (WHERE status = 'disconnected'))::integer AS disconnected_samples,
    (($summary).healthy_seconds
        + CASE ($summary).last_status
            WHEN 'healthy' THEN 900 - date_part('epoch', max("timestamp") - $quarter) ELSE 0 END)
        / (900 - date_part('epoch', min("timestamp") - $quarter)) AS healthy_share,
    ($summary).first_at,
    ($summary).first_status,
    ($summary).last_at,
    ($summary).last_status,
    ($summary).healthy_seconds,
    ($summary).degraded_seconds,
    ($summary).disconnected_seconds
FROM public.health_logs
GROUP BY camera_id, $quarter

-- block: health_hourly
SELECT
    q.camera_id,
    $hour AS bucket,
    sum(q.samples)::integer AS samples,
    sum(q.healthy_samples)::integer AS healthy_samples,
    sum(q.degraded_samples)::integer AS degraded_samples,
    sum(q.disconnected_samples)::integer AS disconnected_samples,
    (($summary).healthy_seconds
        + CASE ($summary).last_status WHEN 'healthy' THEN
            least(3600 - date_part('epoch', max(q.last_at) - $hour), date_part('epoch', max(c.hold))) ELSE 0 END)
        / (($summary).healthy_seconds + ($summary).degraded_seconds + ($summary).disconnected_seconds
        + least(3600 - date_part('epoch', max(q.last_at) - $hour), date_part('epoch', max(c.hold)))) AS healthy_share,
    ($summary).first_at,
    ($summary).first_status,
    ($summary).last_at,
    ($summary).last_status,
    ($summary).healthy_seconds,
    ($summary).degraded_seconds,
    ($summary).disconnected_seconds
FROM public.health_quarter_hourly AS q
JOIN public.cameras AS c ON c.id = q.camera_id
GROUP BY q.camera_id, $hour

-- block: health_weekday
SELECT
    q.camera_id,
    $day AS bucket,
    (q.bucket AT TIME ZONE c.timezone)::date AS local_date,
    extract(isodow FROM (q.bucket AT TIME ZONE c.timezone)::date)::integer AS weekday,
    sum(q.samples)::integer AS samples,
    sum(q.healthy_samples)::integer AS healthy_samples,
    sum(q.degraded_samples)::integer AS degraded_samples,
    sum(q.disconnected_samples)::integer AS disconnected_samples,
    (($summary).healthy_seconds
        + CASE ($summary).last_status WHEN 'healthy' THEN
            least(86400 - date_part('epoch', max(q.last_at) - $day), date_part('epoch', $midnight - max(q.last_at)),
                  date_part('epoch', max(c.hold))) ELSE 0 END)
        / (($summary).healthy_seconds + ($summary).degraded_seconds + ($summary).disconnected_seconds
        + least(86400 - date_part('epoch', max(q.last_at) - $day), date_part('epoch', $midnight - max(q.last_at)),
                date_part('epoch', max(c.hold)))) AS healthy_share,
    ($summary).first_at,
    ($summary).first_status,
    ($summary).last_at,
    ($summary).last_status,
    ($summary).healthy_seconds,
    ($summary).degraded_seconds,
    ($summary).disconnected_seconds
FROM public.health_quarter_hourly AS q
JOIN public.cameras AS c ON c.id = q.camera_id
GROUP BY q.camera_id, $day, (q.bucket AT TIME ZONE c.timezone)::date
