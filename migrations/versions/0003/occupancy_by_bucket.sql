-- The exact answers by local quarter of an hour, hour and day, from one text. Each has, for every camera asked for:
--   bucket        the instant at which the bucket begins; local_start (of days local_date) the same on the wall clock
--   samples       the number of observations in it
--   occupied_avg  the integral of the step function over the known time, divided by that; NULL where nothing is known
--   occupied_min, occupied_max  of the step function, so a count that was carried in is among them
--   coverage      the known share of the part of the bucket that lies in the range, 0 to 1

-- block: function.statements
CREATE FUNCTION public.occupancy_@{width}s(
    camera_ids uuid[] DEFAULT NULL, range_start timestamptz DEFAULT NULL, range_end timestamptz DEFAULT NULL,
    time_zone text DEFAULT NULL
) RETURNS TABLE (
    camera_id uuid, bucket timestamptz, @local, occupied_avg double precision, occupied_min integer,
    occupied_max integer, samples bigint, coverage double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT b.camera_id, b.bucket, @local_value, b.car_seconds / nullif(b.known_seconds, 0), b.occupied_min,
           b.occupied_max, b.samples, b.known_seconds / b.span_seconds
    FROM timeseries.occupancy_buckets($1, $2, $3, '@width', $4) AS b
$$;
COMMENT ON FUNCTION public.occupancy_@{width}s IS
    @comment;

-- block: quarter.local
local_start timestamp

-- block: quarter.local_value
b.local_start

-- block: quarter.comment
'A row per camera and quarter of an hour of the range, empty ones too; otherwise as occupancy_hours.'

-- block: hour.local
local_start timestamp

-- block: hour.local_value
b.local_start

-- block: hour.comment
'A row per camera and local hour of the range, empty hours too: time-weighted average, minimum and maximum of the '
    'step function of the observations, samples, and coverage (the known share of the hour).'

-- block: day.local
local_date date

-- block: day.local_value
b.local_start::date

-- block: day.comment
'A row per camera and local day of the range, empty days too; bucket is its midnight. Otherwise as occupancy_hours.'
