-- The six relations, from one text for a quarter of an hour and one for hours and days. A part is named
-- `family.…`, `level.…` or `kind.…`, and stands where its placeholder is; a migration makes continuous aggregates of
-- the queries, or views.
--
-- (@summary).x is repeated, because a continuous aggregate takes no subquery that could name the summary. It costs
-- nothing: PostgreSQL computes equal aggregate calls of one query once.
-- max(c.hold) and max(c.timezone) are those of the one camera: a GROUP BY of them would store both in every row.
-- @tail is how long the last observation stands: to the end of the bucket (or local day), at most for the hold.

-- block: quarter_hourly.query
SELECT
    camera_id,
    @bucket AS bucket,
    count(*)::integer AS samples,
    @counted,
    @mean,
    @summary_columns
FROM @source
GROUP BY camera_id, @bucket

-- block: coarse.query
SELECT
    q.camera_id,
    @bucket AS bucket,
    @local_columns
    sum(q.samples)::integer AS samples,
    @merged_counts,
    @mean,
    @summary_columns
FROM @source AS q
JOIN public.cameras AS c ON c.id = q.camera_id
GROUP BY q.camera_id, @bucket @local_date

-- block: coarse.source
public.@{family}_quarter_hourly

-- block: quarter_hourly.source
public.@events

-- block: late_quarter.source
unnest(late_rows)

-- block: late_coarse.source
unnest(late_quarters)

-- block: continuous.bucket
public.time_bucket(interval '@width', @moment)

-- block: views.bucket
date_bin(interval '@width', @moment, timestamptz 'epoch')

-- block: quarter_hourly.width
15 minutes

-- block: quarter_hourly.moment
"timestamp"

-- block: quarter_hourly.summary
@summarized

-- block: quarter_hourly.tail
(900 - date_part('epoch', max("timestamp") - @bucket))

-- block: quarter_hourly.known
900 - date_part('epoch', min("timestamp") - @bucket)

-- block: hourly.width
1 hour

-- block: hourly.moment
q.bucket

-- block: hourly.local_columns

-- block: hourly.local_date

-- block: hourly.summary
@merged

-- block: hourly.tail
least(3600 - date_part('epoch', max(q.last_at) - @bucket), date_part('epoch', max(c.hold)))

-- block: hourly.known
@merged_known + @tail

-- block: weekday.width
1 day

-- block: weekday.moment
q.bucket

-- block: weekday.local_columns
(q.bucket AT TIME ZONE c.timezone)::date AS local_date,
    extract(isodow FROM (q.bucket AT TIME ZONE c.timezone)::date)::integer AS weekday,

-- block: weekday.local_date
, (q.bucket AT TIME ZONE c.timezone)::date

-- block: weekday.summary
@merged

-- block: weekday.tail
least(86400 - date_part('epoch', max(q.last_at) - @bucket),
          date_part('epoch', timeseries.midnight((q.bucket AT TIME ZONE c.timezone)::date + 1, max(c.timezone))
                             - max(q.last_at)),
          date_part('epoch', max(c.hold)))

-- block: weekday.known
@merged_known + @tail

-- block: occupancy.events
occupancy_events

-- block: occupancy.summarized
timeseries.summarize_occupancy("timestamp", occupied_count ORDER BY "timestamp")

-- block: occupancy.merged
timeseries.merge_occupancy(q.first_at, q.first_count, q.last_at, q.last_count, q.car_seconds, q.known_seconds, c.hold
                               ORDER BY q.bucket)

-- block: occupancy.counted
min(occupied_count) AS occupied_min,
    max(occupied_count) AS occupied_max

-- block: occupancy.merged_counts
min(q.occupied_min) AS occupied_min,
    max(q.occupied_max) AS occupied_max

-- block: occupancy.merged_known
(@summary).known_seconds

-- block: occupancy.mean
((@summary).car_seconds + (@summary).last_count * @tail) / (@known) AS occupied_avg

-- block: occupancy.summary_columns
(@summary).first_at,
    (@summary).first_count,
    (@summary).last_at,
    (@summary).last_count,
    (@summary).car_seconds,
    (@summary).known_seconds

-- block: health.events
health_logs

-- block: health.summarized
timeseries.summarize_health("timestamp", status ORDER BY "timestamp")

-- block: health.merged
timeseries.merge_health(q.first_at, q.first_status, q.last_at, q.last_status, q.healthy_seconds, q.degraded_seconds,
                            q.disconnected_seconds, c.hold ORDER BY q.bucket)

-- block: health.counted
(count(*) FILTER (WHERE status = 'healthy'))::integer AS healthy_samples,
    (count(*) FILTER (WHERE status = 'degraded'))::integer AS degraded_samples,
    (count(*) FILTER (WHERE status = 'disconnected'))::integer AS disconnected_samples

-- block: health.merged_counts
sum(q.healthy_samples)::integer AS healthy_samples,
    sum(q.degraded_samples)::integer AS degraded_samples,
    sum(q.disconnected_samples)::integer AS disconnected_samples

-- block: health.merged_known
(@summary).healthy_seconds + (@summary).degraded_seconds + (@summary).disconnected_seconds

-- block: health.mean
((@summary).healthy_seconds + CASE (@summary).last_status WHEN 'healthy' THEN @tail ELSE 0 END) / (@known)
        AS healthy_share

-- block: health.summary_columns
(@summary).first_at,
    (@summary).first_status,
    (@summary).last_at,
    (@summary).last_status,
    (@summary).healthy_seconds,
    (@summary).degraded_seconds,
    (@summary).disconnected_seconds
