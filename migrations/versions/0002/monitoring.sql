-- Monitoring for dashboards and alerts: sizes, what is not materialized yet, and background jobs. The functions run
-- with the owner's rights, because a role that only reads averages may call them; they return no raw row.

-- A hypertable is scanned in its first and its last chunk only. A table has no index on the time alone that is in order,
-- so each camera is one step along its index.
CREATE FUNCTION timeseries.read_span(events text, OUT oldest timestamptz, OUT newest timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('timescaledb_information.hypertables') IS NOT NULL THEN
        EXECUTE format('SELECT min("timestamp"), max("timestamp") FROM public.%I', events) INTO oldest, newest;
        RETURN;
    END IF;
    EXECUTE format(
        'SELECT min(f.at), max(l.at)
         FROM public.cameras AS c
         CROSS JOIN LATERAL (SELECT e."timestamp" AS at FROM public.%1$I AS e WHERE e.camera_id = c.id
                             ORDER BY e."timestamp" LIMIT 1) AS f
         CROSS JOIN LATERAL (SELECT e."timestamp" AS at FROM public.%1$I AS e WHERE e.camera_id = c.id
                             ORDER BY e."timestamp" DESC LIMIT 1) AS l', events)
    INTO oldest, newest;
END
$$;

-- Retention is overdue if it should have removed a chunk (without policies: a UTC day) more than `allowed_seconds` ago:
-- two days, or none after a failed run. A chunk is not due before it was created, and a day not before the last run that
-- ended well, because history may have been imported since the job ran.
CREATE FUNCTION timeseries.read_overdue(
    events text, keep interval, oldest timestamptz,
    OUT overdue_from timestamptz, OUT overdue_seconds double precision, OUT allowed_seconds double precision
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    due_at timestamptz;
    failed boolean;
BEGIN
    IF timeseries.built_for() = 'community' THEN
        SELECT c.range_start, greatest(c.range_end + keep, c.chunk_creation_time) AS due INTO overdue_from, due_at
        FROM timescaledb_information.chunks AS c
        WHERE c.hypertable_schema = 'public' AND c.hypertable_name = events
        ORDER BY due, c.range_start
        LIMIT 1;
        SELECT bool_or(s.last_run_status = 'Failed') INTO failed
        FROM timescaledb_information.jobs AS j
        JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
        WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = 'public' AND j.hypertable_name = events;
    ELSE
        overdue_from := date_trunc('day', oldest);
        SELECT max(greatest(r.since, r.finished_at)), bool_or(r.error IS NOT NULL) INTO due_at, failed
        FROM timeseries.retention_run AS r;
        due_at := greatest(due_at, overdue_from + interval '1 day' + keep);
    END IF;
    IF overdue_from IS NULL OR due_at >= now() THEN
        overdue_from := NULL;
        due_at := now();
    END IF;
    overdue_seconds := date_part('epoch', now() - due_at);
    allowed_seconds := CASE WHEN failed THEN 0 ELSE 172800 END;
END
$$;

-- On Community the rows are counted by the samples of days, because the planner has no statistics of compressed chunks
-- and approximate_row_count counts their rows twice.
CREATE FUNCTION public.store_tables()
RETURNS TABLE (
    name text, kept_as text, rows_about bigint, bytes bigint, oldest timestamptz, newest timestamptz, keep interval,
    bytes_before_columnstore bigint, bytes_in_columnstore bigint, overdue_from timestamptz,
    overdue_seconds double precision, allowed_seconds double precision
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    events regclass;
    days text;
    timescale boolean := to_regclass('timescaledb_information.hypertables') IS NOT NULL;
    community boolean := timeseries.built_for() = 'community';
BEGIN
    FOR name, days IN VALUES ('occupancy_events', 'occupancy_weekday'), ('health_logs', 'health_weekday') LOOP
        events := format('public.%I', name);
        kept_as := CASE WHEN timescale THEN 'hypertable' ELSE 'table' END;
        SELECT r.keep, 0, 0 INTO keep, bytes_before_columnstore, bytes_in_columnstore FROM timeseries.retention AS r;
        SELECT s.oldest, s.newest INTO oldest, newest FROM timeseries.read_span(name) AS s;
        IF timescale THEN
            bytes := public.hypertable_size(events);
        ELSE
            SELECT greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) INTO rows_about, bytes
            FROM pg_class AS c
            WHERE c.oid = events;
        END IF;
        IF community THEN
            SELECT coalesce(max((j.config ->> 'drop_after')::interval), keep) INTO keep
            FROM timescaledb_information.jobs AS j
            WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = 'public' AND j.hypertable_name = name;
            SELECT coalesce(sum(before_compression_total_bytes), 0), coalesce(sum(after_compression_total_bytes), 0)
            INTO bytes_before_columnstore, bytes_in_columnstore
            FROM public.hypertable_columnstore_stats(events);
            EXECUTE format(
                'SELECT coalesce(sum(samples), 0) FROM public.%I WHERE bucket >= date_trunc(''day'', $1, ''UTC'')', days)
            INTO rows_about USING oldest;
        ELSIF timescale THEN
            rows_about := public.approximate_row_count(events);
        END IF;
        SELECT o.* INTO overdue_from, overdue_seconds, allowed_seconds
        FROM timeseries.read_overdue(name, keep, oldest) AS o;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION public.store_tables IS
    'A row per table of raw rows: estimated rows, bytes on disk, oldest and newest timestamp, how long rows are kept; of '
    'the chunks in the columnstore the bytes before and after; where the oldest rows begin that retention should have '
    'removed, for how many seconds that is overdue, and how many are allowed.';

-- The bounds are values in the plan, so that the planner excludes chunks.
CREATE FUNCTION timeseries.has_events(events text, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (SELECT FROM public.%I WHERE "timestamp" >= %L AND "timestamp" < %L)', events, since, until)
    INTO found;
    RETURN found;
END
$$;

-- The lag is the time from the watermark to the newest event and not to now, because a watermark stands still, and
-- nothing is missing, while no camera reports. What is not materialized, the real-time part of the aggregate computes.
-- An aggregate is stale if an event above its watermark is older than the end of the policy's window, a bucket (an hour
-- at least) and three runs of the job. A chunk that was created within that time, by an import of history, does not
-- count, because the job has not run since.
CREATE FUNCTION public.store_lag()
RETURNS TABLE (
    name text, kept_as text, bytes bigint, watermark timestamptz, lag_seconds double precision,
    allowed_seconds double precision, stale boolean
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF timeseries.built_for() <> 'community' THEN
        RETURN QUERY
            SELECT
                family || '_' || level,
                'view',
                CASE level WHEN 'quarter_hourly'
                    THEN pg_total_relation_size(to_regclass('timeseries.' || family || '_kept')) END,
                NULL::timestamptz,
                0::double precision,
                NULL::double precision,
                false
            FROM unnest(ARRAY['occupancy', 'health']) AS family
            CROSS JOIN unnest(ARRAY['quarter_hourly', 'hourly', 'weekday']) AS level;
        RETURN;
    END IF;
    RETURN QUERY
        WITH raw AS MATERIALIZED (
            SELECT r.family, r.events, s.newest
            FROM (VALUES ('occupancy', 'occupancy_events'), ('health', 'health_logs')) AS r (family, events)
            CROSS JOIN LATERAL timeseries.read_span(r.events) AS s
        )
        SELECT
            m.name,
            'continuous aggregate',
            public.hypertable_size(m.relation),
            m.watermark,
            greatest(0, date_part('epoch', raw.newest - m.watermark)),
            date_part('epoch', a.allowed),
            EXISTS (
                SELECT FROM timescaledb_information.chunks AS c
                WHERE c.hypertable_schema = 'public' AND c.hypertable_name = raw.events
                  AND c.range_end > m.watermark
                  AND c.range_start < now() - a.allowed AND c.chunk_creation_time < now() - a.allowed
                  AND timeseries.has_events(
                      raw.events, greatest(c.range_start, m.watermark), least(c.range_end, now() - a.allowed)))
        FROM timeseries.materializations AS m
        JOIN raw ON raw.family = m.family
        CROSS JOIN LATERAL (
            SELECT min(coalesce((j.config ->> 'end_offset')::interval, interval '0') + 3 * j.schedule_interval)
                + greatest(m.bucket, interval '1 hour')
            FROM timescaledb_information.jobs AS j
            WHERE j.proc_name = 'policy_refresh_continuous_aggregate'
              AND (j.hypertable_schema, j.hypertable_name)
                IN ((m.view_schema, m.name), (m.hypertable_schema, m.hypertable_name))
        ) AS a (allowed)
        WHERE m.family IS NOT NULL
        ORDER BY m.family DESC, m.bucket;
END
$$;
COMMENT ON FUNCTION public.store_lag IS
    'A row per aggregate: where it is kept, bytes on disk, its watermark, how many seconds of what was observed are not '
    'materialized yet, how old an event may become by the policy before it is, and whether one is older.';

-- Background jobs. One that never ran has no next start, and one whose server died while it ran starts at once.
CREATE FUNCTION public.store_jobs()
RETURNS TABLE (
    job_id integer, job text, relation text, schedule_interval interval, last_run_status text,
    last_success timestamptz, next_start timestamptz, failures bigint, overdue_seconds double precision,
    scheduled boolean, last_start timestamptz
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('timescaledb_information.job_stats') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT
            j.job_id,
            replace(j.proc_name, 'policy_', ''),
            coalesce(m.name, j.hypertable_name),
            j.schedule_interval,
            s.last_run_status,
            CASE WHEN isfinite(s.last_successful_finish) THEN s.last_successful_finish END,
            CASE WHEN isfinite(s.next_start) THEN s.next_start END,
            coalesce(s.total_failures, 0),
            CASE WHEN NOT j.scheduled OR s.job_status = 'Running' OR d.due_at > now() THEN 0
                WHEN isfinite(d.due_at) THEN date_part('epoch', now() - d.due_at) END,
            j.scheduled,
            CASE WHEN isfinite(s.last_run_started_at) THEN s.last_run_started_at END
        FROM timescaledb_information.jobs AS j
        LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
        CROSS JOIN LATERAL (SELECT coalesce(s.next_start, j.initial_start)) AS d (due_at)
        LEFT JOIN timeseries.materializations AS m
            ON m.hypertable_schema = j.hypertable_schema AND m.hypertable_name = j.hypertable_name
        WHERE j.hypertable_name IS NOT NULL;
END
$$;
COMMENT ON FUNCTION public.store_jobs IS
    'A row per background job of TimescaleDB on our tables: its last result, and how many seconds it is overdue (NULL '
    'where it never ran or died, so that it should start at once and nothing tells since when).';

REVOKE EXECUTE ON FUNCTION public.store_tables, public.store_lag, public.store_jobs FROM PUBLIC;
