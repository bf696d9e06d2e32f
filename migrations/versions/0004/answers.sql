-- The answers about groups: as those about cameras in 0003, with the group in place of the camera. Besides,
--   coverage        the share of the time for which all members are known, by whole quarters of an hour
--   occupied_min, occupied_max  the least and the most of the sum where extremes_exact is true; otherwise bounds: the sum
--                   was never below the one and never above the other
--   exact_rows      how many raw rows may be read for exact ones, of each group; NULL: any number

-- block: buckets.statements
CREATE FUNCTION public.@{name}(
    group_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, @{own} exact_rows bigint DEFAULT @exact_rows, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, bucket timestamptz, @local, occupied_avg double precision, occupied_min bigint,
    occupied_max bigint, samples bigint, coverage double precision, extremes_exact boolean
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.group_id, b.bucket, @local_value, b.car_seconds / nullif(b.counted_seconds, 0), b.occupied_min,
           b.occupied_max, b.samples, b.counted_seconds / b.span_seconds, b.extremes_exact
    FROM timeseries.group_buckets($1, $2, $3, @width, $4, exact_rows, NULL, calendar) AS b
$$;
COMMENT ON FUNCTION public.@{name} IS
    'A row per group and @words of the range, empty ones too: the average of the sum of its members over the quarters '
    'of an hour in which all of them are known, its extremes or bounds of them, samples, coverage.';

-- block: others.statements
CREATE FUNCTION public.group_weekdays(
    group_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, exact_rows bigint DEFAULT @exact_rows, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, weekday integer, occupied_avg double precision, occupied_min bigint, occupied_max bigint,
    samples bigint, coverage double precision, extremes_exact boolean
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.group_id, b.label, b.car_seconds / nullif(b.counted_seconds, 0), b.occupied_min, b.occupied_max, b.samples,
           b.counted_seconds / b.span_seconds, b.extremes_exact
    FROM timeseries.group_buckets($1, $2, $3, 'day', $4, $5, 'weekday', $6) AS b
$$;
COMMENT ON FUNCTION public.group_weekdays IS
    'A row per group and local weekday (ISO: Monday 1 to Sunday 7) over all such days of the range; otherwise as '
    'group_days.';

CREATE FUNCTION public.group_profile(
    group_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, exact_rows bigint DEFAULT @exact_rows, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, weekday integer, hour integer, occupied_avg double precision, occupied_min bigint,
    occupied_max bigint, samples bigint, coverage double precision, extremes_exact boolean
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.group_id, b.label / 24, b.label % 24, b.car_seconds / nullif(b.counted_seconds, 0), b.occupied_min,
           b.occupied_max, b.samples, b.counted_seconds / b.span_seconds, b.extremes_exact
    FROM timeseries.group_buckets($1, $2, $3, 'hour', $4, $5, 'profile', $6) AS b
$$;
COMMENT ON FUNCTION public.group_profile IS
    'A row per group, local weekday (ISO) and hour of the day (0 to 23), over all such hours of the range.';

CREATE FUNCTION public.group_peaks(
    group_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, number integer DEFAULT 10, exact_rows bigint DEFAULT @exact_rows,
    calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, bucket timestamptz, local_start timestamp, occupied_avg double precision, occupied_min bigint,
    occupied_max bigint, samples bigint, coverage double precision, extremes_exact boolean
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT r.group_id, r.bucket, r.local_start, r.occupied_avg, r.occupied_min, r.occupied_max, r.samples, r.coverage,
           r.extremes_exact
    FROM (
        SELECT h.*, row_number() OVER (PARTITION BY h.group_id ORDER BY h.occupied_avg DESC, h.bucket) AS place
        FROM public.group_hours($1, $2, $3, $4, $6, $7) AS h
        WHERE h.occupied_avg IS NOT NULL
    ) AS r
    WHERE r.place <= $5
    ORDER BY r.group_id, r.place
$$;
COMMENT ON FUNCTION public.group_peaks IS
    'The busiest local hours of each group in the range, busiest first; of equal ones the earlier first.';

CREATE FUNCTION public.group_latest(group_ids uuid[] DEFAULT NULL)
RETURNS TABLE (
    group_id uuid, counted_at timestamptz, occupied_count bigint, count_age interval, capacity bigint, time_zone text,
    missing text
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    SELECT g.id, max(l.counted_at),
           CASE WHEN count(*) FILTER (WHERE l.stands) = count(m.camera_id) THEN sum(l.occupied_count) END::bigint,
           min(l.count_age), timeseries.group_capacity(g.id), timeseries.group_zone(g.id),
           string_agg(l.name, ', ' ORDER BY l.name) FILTER (WHERE NOT l.stands)
    FROM public.camera_groups AS g
    LEFT JOIN public.group_members AS m
        ON m.group_id = g.id AND (m.since <= now()) IS NOT FALSE AND (m.until > now()) IS NOT FALSE
    LEFT JOIN (
        SELECT c.id, c.name, a.counted_at, a.occupied_count, a.count_age,
               coalesce(a.count_age < make_interval(secs => date_part('epoch', c.hold)), false) AS stands
        FROM public.latest(ARRAY(
            SELECT m.camera_id FROM public.group_members AS m WHERE group_ids IS NULL OR m.group_id = ANY (group_ids)
        )) AS a
        JOIN public.cameras AS c ON c.id = a.camera_id
    ) AS l ON l.id = m.camera_id
    WHERE group_ids IS NULL OR g.id = ANY (group_ids)
    GROUP BY g.id
    ORDER BY g.name
$$;
COMMENT ON FUNCTION public.group_latest IS
    'A row per group: the sum of its members'' newest counts where each of them still stands, else NULL with the names '
    'of the missing ones; when a member was counted last and how long ago; its capacity and time zone.';

-- block: buckets.own

-- block: times.local
local_start timestamp

-- block: times.local_value
b.local_start

-- block: dates.local
local_date date

-- block: dates.local_value
b.local_start::date

-- block: group_quarters.width
'quarter'

-- block: group_quarters.words
quarter of an hour

-- block: group_hours.width
'hour'

-- block: group_hours.words
local hour

-- block: group_days.width
'day'

-- block: group_days.words
local day

-- block: group_weeks.width
'week'

-- block: group_weeks.words
local week (from Monday)

-- block: group_months.width
'month'

-- block: group_months.words
local month

-- block: group_years.width
'year'

-- block: group_years.words
local year

-- block: group_averages.own
width text DEFAULT 'hour',

-- block: group_averages.width
timeseries.bucket_width(width)

-- block: group_averages.words
local bucket of this width (as in occupancy_averages)
