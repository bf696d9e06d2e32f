-- Which time counts, by the clock and the calendar on the wall of the lot, and buckets of any width. A field that is NULL
-- lets all time count. Hours may pass midnight: each quarter of an hour is judged by its own time of day, weekday and date.
-- Opening hours are those of a camera or a group; where they pass midnight, the next morning belongs to them, too. They are
-- on the wall of opening_zone, if the answer is in another zone.
CREATE TYPE timeseries.calendar AS (
    hours_from   time,
    hours_to     time,
    weekdays     integer[],
    dates        date[],
    without      date[],
    opening      jsonb,
    opening_zone text
);

CREATE FUNCTION public.calendar(
    hours_from time DEFAULT NULL, hours_to time DEFAULT NULL, weekdays integer[] DEFAULT NULL,
    dates date[] DEFAULT NULL, without date[] DEFAULT NULL, opening jsonb DEFAULT NULL,
    opening_zone text DEFAULT NULL
) RETURNS timeseries.calendar LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF num_nulls(hours_from, hours_to) = 1 OR hours_from = hours_to
        OR mod(date_part('epoch', hours_from)::numeric, 900) <> 0 OR mod(date_part('epoch', hours_to)::numeric, 900) <> 0
    THEN
        RAISE EXCEPTION 'hours from % to %: give both, different, each on a quarter of an hour',
            coalesce(hours_from::text, 'NULL'), coalesce(hours_to::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF 1 > ANY (weekdays) OR 7 < ANY (weekdays) THEN
        RAISE EXCEPTION 'weekdays %: give ISO numbers from 1 (Monday) to 7 (Sunday)', weekdays
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF opening IS NOT NULL AND NOT timeseries.are_opening_hours(opening) THEN
        RAISE EXCEPTION 'opening hours %: give from and to by weekday, like {"monday": ["07:00", "20:00"]}, on quarters of '
            'an hour; NULL where it always is open', opening
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN ROW(hours_from, hours_to, weekdays, dates, without, opening,
               CASE WHEN opening IS NOT NULL THEN opening_zone END)::timeseries.calendar;
END
$$;
COMMENT ON FUNCTION public.calendar IS
    'The time that counts in an answer: local hours of the day (to may be earlier than from: past midnight), weekdays '
    '(ISO: Monday 1 to Sunday 7), only these dates, without those dates, and within the opening hours of a camera or '
    'group.';

-- Of each of the 672 quarters of an hour of a local week, from Monday 00:00, whether it is within opening hours.
CREATE FUNCTION timeseries.open_quarters(opening jsonb) RETURNS boolean[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    WITH spans AS MATERIALIZED (
        SELECT (w.number - 1) * 96 + q.first_quarter AS first_quarter,
               q.end_quarter - q.first_quarter + CASE WHEN q.end_quarter < q.first_quarter THEN 96 ELSE 0 END AS length
        FROM unnest(ARRAY['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
            WITH ORDINALITY AS w (weekday, number)
        CROSS JOIN LATERAL (
            SELECT date_part('epoch', (opening -> w.weekday ->> 0)::time)::integer / 900 AS first_quarter,
                   date_part('epoch', (opening -> w.weekday ->> 1)::time)::integer / 900 AS end_quarter
        ) AS q
        WHERE opening ? w.weekday
    )
    SELECT array_agg(EXISTS (SELECT FROM spans AS s WHERE mod(n - s.first_quarter + 672, 672) < s.length) ORDER BY n)
    FROM generate_series(0, 671) AS n
$$;

-- Which of them a local time is in, from 1.
CREATE FUNCTION timeseries.quarter_of_week(wall timestamp) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 1 + floor(date_part('epoch', wall - date_trunc('week', wall)) / 900)::integer
$$;

-- A width as the functions below know it: quarter, hour, day, week, month, year, or a number of minutes.
CREATE FUNCTION timeseries.bucket_width(width text) RETURNS text LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    asked   interval;
    minutes numeric;
    known   CONSTANT jsonb := '{"15": "quarter", "60": "hour", "1440": "day", "10080": "week"}';
BEGIN
    IF width IN ('quarter', 'hour', 'day', 'week', 'month', 'year') THEN
        RETURN width;
    END IF;
    asked := width::interval;
    IF asked = interval '1 month' AND date_part('month', asked) = 1 THEN
        RETURN 'month';
    ELSIF asked = interval '1 year' AND date_part('year', asked) = 1 THEN
        RETURN 'year';
    END IF;
    minutes := trim_scale(extract(epoch FROM asked) / 60);
    IF known ? minutes::text THEN
        RETURN known ->> minutes::text;
    ELSIF minutes < 15 OR mod(minutes, 15) <> 0 OR mod(1440, minutes) <> 0 THEN
        RAISE EXCEPTION
            'width % is neither a week, month or year nor a multiple of a quarter of an hour that divides a day', width
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN minutes || ' minutes';
EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
    RAISE EXCEPTION 'width % is neither quarter, hour, day, week, month or year nor an interval, like 2 hours', width
        USING ERRCODE = 'invalid_parameter_value';
END
$$;

-- The units of which every piece below is made, as few as will do, because each is looked at.
CREATE FUNCTION timeseries.piece_unit(width text, calendar timeseries.calendar) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN width IN ('day', 'week', 'month', 'year') AND calendar.hours_from IS NULL AND calendar.opening IS NULL THEN 'day'
        WHEN width = 'quarter' OR mod(date_part('epoch', coalesce(calendar.hours_from, '00:00'))::integer, 3600) <> 0
            OR mod(date_part('epoch', coalesce(calendar.hours_to, '00:00'))::integer, 3600) <> 0
            OR calendar.opening::text ~ ':(15|30|45)"' OR calendar.opening_zone IS NOT NULL THEN 'quarter'
        WHEN width IN ('hour', 'day', 'week', 'month', 'year')
            OR mod(date_part('epoch', width::interval)::integer, 3600) = 0 THEN 'hour'
        ELSE 'quarter' END
$$;

-- The pieces into which a calendar cuts local buckets of any width, in order and without a gap, from one that ends after
-- range_start to one that ends at range_end or after it. In a piece that does not count, bucket and local_start are
-- infinite. A bucket may have several pieces.
--
-- Buckets are counted from local midnight, by the wall clock. Where the clock is put back, one of up to an hour that comes
-- twice is two buckets, as hours are; a wider one is one bucket that lasts longer.
CREATE FUNCTION timeseries.bucket_pieces(
    range_start timestamptz, range_end timestamptz, width text, time_zone text, calendar timeseries.calendar
) RETURNS TABLE (edge timestamptz, edge_end timestamptz, bucket timestamptz, local_start timestamp)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    in_days CONSTANT boolean := width IN ('day', 'week', 'month', 'year');
    step    CONSTANT interval := CASE WHEN in_days THEN NULL WHEN width = 'quarter' THEN '15 minutes'
                                      WHEN width = 'hour' THEN '60 minutes' ELSE width END;
    opens   CONSTANT time := calendar.hours_from;
    closes  CONSTANT time := calendar.hours_to;
    days_of_week CONSTANT integer[] := calendar.weekdays;
    only_on CONSTANT date[] := calendar.dates;
    not_on  CONSTANT date[] := calendar.without;
    unit    CONSTANT text := timeseries.piece_unit(width, calendar);
    is_open CONSTANT boolean[] := timeseries.open_quarters(calendar.opening);
    open_in CONSTANT text := calendar.opening_zone;
BEGIN
    RETURN QUERY
    WITH units AS (
        SELECT u.bucket AS at, u.local_start AS wall,
               CASE WHEN in_days THEN date_trunc(width, u.local_start)
                    ELSE date_bin(step, u.local_start, date_trunc('day', u.local_start)) END AS slot,
               CASE WHEN step <= interval '1 hour'
                    THEN (u.bucket AT TIME ZONE time_zone) - (u.bucket AT TIME ZONE 'UTC') END AS utc_offset
        FROM timeseries.local_buckets(
            date_bin('15 minutes', timeseries.midnight((range_start AT TIME ZONE time_zone)::date, time_zone), 'epoch'),
            range_end, unit, time_zone) AS u
        WHERE u.bucket < u.bucket_end
    ),
    judged AS (
        SELECT u.at, u.slot, CASE
            WHEN (days_of_week IS NULL OR extract(isodow FROM u.wall)::integer = ANY (days_of_week))
             AND (only_on IS NULL OR u.wall::date = ANY (only_on))
             AND (not_on IS NULL OR u.wall::date <> ALL (not_on))
             AND (opens IS NULL OR CASE WHEN opens < closes THEN u.wall::time >= opens AND u.wall::time < closes
                                        ELSE u.wall::time >= opens OR u.wall::time < closes END)
             AND (is_open IS NULL OR is_open[timeseries.quarter_of_week(
                      CASE WHEN open_in IS NULL THEN u.wall ELSE u.at AT TIME ZONE open_in END)])
            THEN min(u.at) OVER (PARTITION BY u.slot, u.utc_offset) ELSE 'infinity' END AS bucket
        FROM units AS u
    ),
    pieces AS (
        SELECT c.at, lead(c.at, 1, 'infinity') OVER (ORDER BY c.at) AS until, c.bucket, c.slot
        FROM (SELECT j.*, j.bucket IS DISTINCT FROM lag(j.bucket) OVER (ORDER BY j.at) AS begins FROM judged AS j) AS c
        WHERE c.begins
    )
    SELECT p.at, p.until,
           CASE WHEN in_days AND isfinite(p.bucket) THEN timeseries.midnight(p.slot::date, time_zone) ELSE p.bucket END,
           CASE WHEN isfinite(p.bucket) THEN p.slot ELSE 'infinity' END
    FROM pieces AS p
    WHERE p.until > range_start;
END
$$;
