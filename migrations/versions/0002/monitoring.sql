-- Monitoring for dashboards and alerts: sizes, what is not materialized yet, and background jobs. The functions run
-- with the owner's rights, because a role that only reads averages may call them; they return no raw row.

CREATE FUNCTION public.store_tables()
RETURNS TABLE (
    name text, kept_as text, rows_about bigint, bytes bigint, oldest timestamptz, newest timestamptz, keep interval
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    events text;
    timescale boolean := to_regclass('timescaledb_information.hypertables') IS NOT NULL;
BEGIN
    FOREACH events IN ARRAY ARRAY['occupancy_events', 'health_logs'] LOOP
        name := events;
        kept_as := CASE WHEN timescale THEN 'hypertable' ELSE 'table' END;
        SELECT r.keep INTO keep FROM timeseries.retention AS r;
        IF timescale THEN
            rows_about := public.approximate_row_count(('public.' || events)::regclass);
            bytes := public.hypertable_size(('public.' || events)::regclass);
            SELECT coalesce(max((j.config ->> 'drop_after')::interval), keep) INTO keep
            FROM timescaledb_information.jobs AS j
            WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = 'public' AND j.hypertable_name = events;
        ELSE
            SELECT greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) INTO rows_about, bytes
            FROM pg_class AS c
            WHERE c.oid = ('public.' || events)::regclass;
        END IF;
        -- Each camera is one step along its index, because there is no index on the time alone.
        EXECUTE format(
            'SELECT min(f.at), max(l.at)
             FROM public.cameras AS c
             CROSS JOIN LATERAL (SELECT e."timestamp" AS at FROM public.%1$I AS e WHERE e.camera_id = c.id
                                 ORDER BY e."timestamp" LIMIT 1) AS f
             CROSS JOIN LATERAL (SELECT e."timestamp" AS at FROM public.%1$I AS e WHERE e.camera_id = c.id
                                 ORDER BY e."timestamp" DESC LIMIT 1) AS l', events)
        INTO oldest, newest;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION public.store_tables IS
    'A row per table of raw rows: estimated rows, bytes on disk, oldest and newest timestamp, and how long rows are kept.';

-- The lag is the time from the watermark to the newest event and not to now, because a watermark stands still, and
-- nothing is missing, while no camera reports. What is not materialized, the real-time part of the aggregate computes.
CREATE FUNCTION public.store_lag()
RETURNS TABLE (
    name text, kept_as text, bytes bigint, watermark timestamptz, lag_seconds double precision,
    allowed_seconds double precision
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
                NULL::double precision
            FROM unnest(ARRAY['occupancy', 'health']) AS family
            CROSS JOIN unnest(ARRAY['quarter_hourly', 'hourly', 'weekday']) AS level;
        RETURN;
    END IF;
    RETURN QUERY
        SELECT
            m.name,
            'continuous aggregate',
            public.hypertable_size(m.relation),
            m.watermark,
            greatest(0, date_part('epoch', t.newest - m.watermark)),
            date_part('epoch', (j.config ->> 'end_offset')::interval + 3 * j.schedule_interval)
                + CASE m.level WHEN 'weekday' THEN 86400 ELSE 3600 END
        FROM timeseries.materializations AS m
        JOIN public.store_tables() AS t
            ON t.name = CASE m.family WHEN 'occupancy' THEN 'occupancy_events' ELSE 'health_logs' END
        LEFT JOIN timescaledb_information.jobs AS j
            ON j.proc_name = 'policy_refresh_continuous_aggregate'
            AND (j.hypertable_schema, j.hypertable_name)
                IN ((m.view_schema, m.name), (m.hypertable_schema, m.hypertable_name))
        WHERE m.family IS NOT NULL;
END
$$;
COMMENT ON FUNCTION public.store_lag IS
    'A row per aggregate: where it is kept, bytes on disk, its watermark, how many seconds of what was observed are not '
    'materialized yet, and how many may be by its policy.';

-- Background jobs. One that never ran has no next start, and one whose server died while it ran starts at once.
CREATE FUNCTION public.store_jobs()
RETURNS TABLE (
    job_id integer, job text, relation text, schedule_interval interval, last_run_status text,
    last_success timestamptz, next_start timestamptz, failures bigint, overdue_seconds double precision
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
                WHEN isfinite(d.due_at) THEN date_part('epoch', now() - d.due_at) END
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
