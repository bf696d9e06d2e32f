-- The exact answers by local buckets of any width, from one text. Each has, for every camera asked for:
--   bucket        the instant at which the bucket begins; local_start (of days and more local_date) the same on the wall
--   samples       the number of observations in it
--   occupied_avg  the integral of the step function over the known time, divided by that; NULL where nothing is known
--   occupied_min, occupied_max  of the step function, so a count that was carried in is among them
--   coverage      the known share of the part of the bucket that lies in the range, 0 to 1
-- Only time of the calendar counts, in all of them.

-- block: function.statements
CREATE FUNCTION public.@{name}(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL, @{own} calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, @local, occupied_avg double precision, occupied_min integer,
    occupied_max integer, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.bucket, @local_value, b.car_seconds / nullif(b.known_seconds, 0), b.occupied_min,
           b.occupied_max, b.samples, b.known_seconds / b.span_seconds
    FROM timeseries.occupancy_buckets($1, $2, $3, @width, $4, NULL, @calendar) AS b
$$;
COMMENT ON FUNCTION public.@{name} IS
    @comment;

-- block: function.own

-- block: function.local
local_start timestamp

-- block: function.local_value
b.local_start

-- block: function.calendar
$5

-- block: dates.local
local_date date

-- block: dates.local_value
b.local_start::date

-- block: occupancy_quarters.width
'quarter'

-- block: occupancy_quarters.comment
'A row per camera and quarter of an hour of the range, empty ones too; otherwise as occupancy_hours.'

-- block: occupancy_hours.width
'hour'

-- block: occupancy_hours.comment
'A row per camera and local hour of the range, empty hours too: time-weighted average, minimum and maximum of the '
    'step function of the observations, samples, and coverage (the known share of the hour).'

-- block: occupancy_days.width
'day'

-- block: occupancy_days.comment
'A row per camera and local day of the range, empty days too; bucket is its midnight. Otherwise as occupancy_hours.'

-- block: occupancy_weeks.width
'week'

-- block: occupancy_weeks.comment
'A row per camera and local week (ISO: from Monday) of the range, empty weeks too; bucket is its first midnight.'

-- block: occupancy_months.width
'month'

-- block: occupancy_months.comment
'A row per camera and local month of the range, empty months too; bucket is its first midnight.'

-- block: occupancy_years.width
'year'

-- block: occupancy_years.comment
'A row per camera and local year of the range, empty years too; bucket is its first midnight.'

-- block: occupancy_averages.own
width text DEFAULT 'hour',

-- block: occupancy_averages.width
timeseries.bucket_width($5)

-- block: occupancy_averages.calendar
$6

-- block: occupancy_averages.comment
'A row per camera and local bucket of this width: quarter, hour, day, week, month, year, or an interval that divides a '
    'day, counted from local midnight, like 30 minutes or 6 hours. Otherwise as occupancy_hours.'
