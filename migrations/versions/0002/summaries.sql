-- A summary is what must be known of a span to join it to its neighbours without error: its first and
-- last observation and the integral of the step function between them. An observation stands until the
-- next one, at most for the camera's hold. A hold is never shorter than a quarter of an hour, so that
-- inside one quarter every gap is known and the summary of a quarter does not depend on the hold.

CREATE TYPE timeseries.occupancy_summary AS (
    first_at      timestamptz,
    first_count   integer,
    last_at       timestamptz,
    last_count    integer,
    car_seconds   double precision,
    known_seconds double precision
);

CREATE FUNCTION timeseries.add_occupancy(
    summary timeseries.occupancy_summary, observed_at timestamptz, occupied integer
) RETURNS timeseries.occupancy_summary LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    gap double precision;
BEGIN
    IF summary.last_at IS NULL THEN
        RETURN (observed_at, occupied, observed_at, occupied, 0, 0)::timeseries.occupancy_summary;
    END IF;
    gap := date_part('epoch', observed_at - summary.last_at);
    RETURN (summary.first_at, summary.first_count, observed_at, occupied,
            summary.car_seconds + gap * summary.last_count,
            summary.known_seconds + gap)::timeseries.occupancy_summary;
END
$$;

CREATE AGGREGATE timeseries.summarize_occupancy(timestamptz, integer) (
    SFUNC = timeseries.add_occupancy, STYPE = timeseries.occupancy_summary, PARALLEL = SAFE
);
COMMENT ON AGGREGATE timeseries.summarize_occupancy(timestamptz, integer) IS
    'Summary of the observations of one camera in one quarter of an hour. Call with ORDER BY timestamp.';

CREATE FUNCTION timeseries.join_occupancy(
    summary timeseries.occupancy_summary,
    first_at timestamptz, first_count integer, last_at timestamptz, last_count integer,
    car_seconds double precision, known_seconds double precision, hold interval
) RETURNS timeseries.occupancy_summary LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    gap double precision;
BEGIN
    IF summary.last_at IS NULL THEN
        RETURN (first_at, first_count, last_at, last_count, car_seconds, known_seconds)::timeseries.occupancy_summary;
    END IF;
    gap := least(date_part('epoch', first_at - summary.last_at), date_part('epoch', hold));
    RETURN (summary.first_at, summary.first_count, last_at, last_count,
            summary.car_seconds + gap * summary.last_count + car_seconds,
            summary.known_seconds + gap + known_seconds)::timeseries.occupancy_summary;
END
$$;

CREATE AGGREGATE timeseries.merge_occupancy(
    timestamptz, integer, timestamptz, integer, double precision, double precision, interval
) (
    SFUNC = timeseries.join_occupancy, STYPE = timeseries.occupancy_summary, PARALLEL = SAFE
);
COMMENT ON AGGREGATE timeseries.merge_occupancy(
    timestamptz, integer, timestamptz, integer, double precision, double precision, interval
) IS 'Summary of neighbouring summaries: first_at, first_count, last_at, last_count, car_seconds, '
     'known_seconds, hold. Call with ORDER BY first_at.';

CREATE TYPE timeseries.health_summary AS (
    first_at             timestamptz,
    first_status         public.health_status,
    last_at              timestamptz,
    last_status          public.health_status,
    healthy_seconds      double precision,
    degraded_seconds     double precision,
    disconnected_seconds double precision
);

CREATE FUNCTION timeseries.join_health(
    summary timeseries.health_summary,
    first_at timestamptz, first_status public.health_status, last_at timestamptz, last_status public.health_status,
    healthy_seconds double precision, degraded_seconds double precision, disconnected_seconds double precision,
    hold interval
) RETURNS timeseries.health_summary LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    gap double precision;
BEGIN
    IF summary.last_at IS NULL THEN
        RETURN (first_at, first_status, last_at, last_status,
                healthy_seconds, degraded_seconds, disconnected_seconds)::timeseries.health_summary;
    END IF;
    gap := least(date_part('epoch', first_at - summary.last_at), date_part('epoch', hold));
    RETURN (summary.first_at, summary.first_status, last_at, last_status,
            summary.healthy_seconds + healthy_seconds
                + CASE summary.last_status WHEN 'healthy' THEN gap ELSE 0 END,
            summary.degraded_seconds + degraded_seconds
                + CASE summary.last_status WHEN 'degraded' THEN gap ELSE 0 END,
            summary.disconnected_seconds + disconnected_seconds
                + CASE summary.last_status WHEN 'disconnected' THEN gap ELSE 0 END)::timeseries.health_summary;
END
$$;

CREATE FUNCTION timeseries.add_health(
    summary timeseries.health_summary, logged_at timestamptz, status public.health_status
) RETURNS timeseries.health_summary LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT timeseries.join_health(summary, logged_at, status, logged_at, status, 0, 0, 0, interval '15 minutes')
$$;

CREATE AGGREGATE timeseries.summarize_health(timestamptz, public.health_status) (
    SFUNC = timeseries.add_health, STYPE = timeseries.health_summary, PARALLEL = SAFE
);

CREATE AGGREGATE timeseries.merge_health(
    timestamptz, public.health_status, timestamptz, public.health_status,
    double precision, double precision, double precision, interval
) (
    SFUNC = timeseries.join_health, STYPE = timeseries.health_summary, PARALLEL = SAFE
);

-- The first instant of a local day. PostgreSQL reads a midnight that happens twice as its second
-- occurrence (Havana, the Azores); the day begins with the first. A midnight that does not happen
-- (Beirut, Santiago) is read as the instant of the change, which is right.
CREATE FUNCTION timeseries.midnight(local_date date, time_zone text)
RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    wall   timestamp := local_date::timestamp;
    late   timestamp := (wall AT TIME ZONE time_zone) AT TIME ZONE 'UTC';
    step   interval;
BEGIN
    -- Where the offset was the same two hours before, it has not happened twice. That is nearly always so.
    IF ((late - interval '2 hours') AT TIME ZONE 'UTC') AT TIME ZONE time_zone = wall - interval '2 hours' THEN
        RETURN late AT TIME ZONE 'UTC';
    END IF;
    FOREACH step IN ARRAY ARRAY[interval '2 hours', '1 hour', '30 minutes'] LOOP
        IF ((late - step) AT TIME ZONE 'UTC') AT TIME ZONE time_zone = wall THEN
            RETURN (late - step) AT TIME ZONE 'UTC';
        END IF;
    END LOOP;
    RETURN late AT TIME ZONE 'UTC';
END
$$;
