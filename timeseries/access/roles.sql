-- Privileges by kind of role. {role} is replaced by the role's name; each block can be run again.

-- block: closed
-- Privileges that PUBLIC has by default are revoked: on background jobs, large objects, temporary tables and, on old
-- databases, on the schema public, where an object could shadow one of ours. Only the owner of the store keeps EXECUTE
-- on the functions that change it.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
REVOKE ALL ON TABLE
    public.cameras, public.camera_groups, public.group_members, public.occupancy_events, public.health_logs
    FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION public.latest, public.health_states FROM PUBLIC;
DO $$
DECLARE
    owner regrole := (SELECT relowner FROM pg_class WHERE oid = 'public.cameras'::regclass);
    changing record;
BEGIN
    FOR changing IN
        SELECT p.oid::regprocedure AS routine
        FROM pg_proc AS p
        LEFT JOIN pg_depend AS d
            ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass
        LEFT JOIN pg_extension AS e ON e.oid = d.refobjid
        WHERE pg_has_role(p.proowner, 'USAGE')
          AND (
              p.pronamespace = 'timeseries'::regnamespace AND (p.provolatile = 'v' OR p.proname = 'sealed')
              OR p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^lo_(creat|create|from_bytea)$'
              OR e.extname = 'timescaledb' AND p.pronamespace = e.extnamespace AND p.provolatile = 'v'
              AND p.proname !~ '^(by_|show_)|_size$|^(approximate_row_count|time_bucket_gapfill|locf|interpolate)$|uuid'
          )
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', changing.routine);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', changing.routine, owner);
    END LOOP;
END
$$;

-- block: nothing
-- Every privilege of the role on the store's objects is revoked, so that a role that changes its kind keeps none.
REVOKE ALL ON ALL TABLES IN SCHEMA timeseries FROM {role};
REVOKE ALL ON ALL ROUTINES IN SCHEMA timeseries FROM {role};
REVOKE ALL ON FUNCTION public.store_tables, public.store_lag, public.store_jobs, public.store_archive, public.latest,
    public.health_states FROM {role};
REVOKE ALL ON SCHEMA public, timeseries FROM {role};
REVOKE ALL ON DATABASE {database} FROM {role};
REVOKE ALL ON TABLE
    public.cameras, public.camera_groups, public.group_members, public.occupancy_events, public.health_logs,
    public.alembic_version,
    public.occupancy_quarter_hourly, public.occupancy_hourly, public.occupancy_weekday,
    public.health_quarter_hourly, public.health_hourly, public.health_weekday
    FROM {role};
ALTER ROLE {role} CONNECTION LIMIT -1;
ALTER ROLE {role} IN DATABASE {database} RESET statement_timeout;
ALTER ROLE {role} IN DATABASE {database} RESET idle_in_transaction_session_timeout;

-- block: ingest
-- Stores events, and reads which of them are there already. Functions with the owner's rights materialize late events
-- and run retention, within what the database records: how long rows are kept, and whether retention is scheduled.
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public, timeseries TO {role};
GRANT SELECT ON TABLE public.alembic_version TO {role};
GRANT SELECT (id, name) ON TABLE public.cameras TO {role};
GRANT SELECT, INSERT ON TABLE public.occupancy_events, public.health_logs TO {role};
GRANT EXECUTE ON FUNCTION
    timeseries.make_chunks, timeseries.sealed, timeseries.note_change, timeseries.materialize, timeseries.retain
    TO {role};

-- block: worker
-- Besides what ingest may, it reads the cameras that it runs, and their groups. Their connection strings are ciphertext,
-- of no use without the key.
GRANT SELECT ON TABLE public.cameras, timeseries.camera_versions, timeseries.periods,
    public.camera_groups, public.group_members TO {role};

-- block: answers
-- Averages, states and how the store is. Most functions run with the caller's rights, so the role needs SELECT on the
-- aggregates, and never on raw rows.
GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public, timeseries TO {role};
GRANT SELECT ON TABLE public.alembic_version TO {role};
GRANT SELECT (id, name, timezone, capacity, hold, desired_state, past_capacities, opening_hours)
    ON TABLE public.cameras TO {role};
GRANT SELECT ON TABLE
    timeseries.periods,
    public.camera_groups, public.group_members,
    public.occupancy_quarter_hourly, public.occupancy_hourly, public.occupancy_weekday,
    public.health_quarter_hourly, public.health_hourly, public.health_weekday
    TO {role};
GRANT EXECUTE ON FUNCTION public.store_tables, public.store_lag, public.store_jobs, public.store_archive, public.latest,
    public.health_states TO {role};

-- block: control
-- Besides the answers, it keeps the cameras, their groups and their periods. It writes connection strings and does not read them back, because to edit
-- a camera takes no old one. Neither the id nor the time of creation can be changed.
GRANT SELECT (zone_config, created_at, revision, changed_at, changed_by) ON TABLE public.cameras TO {role};
GRANT SELECT ON TABLE timeseries.camera_versions TO {role};
GRANT INSERT (
    id, name, connection_string, zone_config, capacity, desired_state, timezone, hold, created_at, past_capacities,
    opening_hours
) ON TABLE public.cameras TO {role};
GRANT UPDATE (
    name, connection_string, zone_config, capacity, desired_state, timezone, hold, past_capacities,
    opening_hours
) ON TABLE public.cameras TO {role};
GRANT DELETE ON TABLE public.cameras TO {role};
GRANT INSERT, UPDATE, DELETE ON TABLE timeseries.periods TO {role};
GRANT INSERT, UPDATE, DELETE ON TABLE public.camera_groups, public.group_members TO {role};

-- block: reader
-- Besides the answers nothing, and those within limits.
ALTER ROLE {role} CONNECTION LIMIT {connections};
ALTER ROLE {role} IN DATABASE {database} SET statement_timeout = {statement_timeout};
ALTER ROLE {role} IN DATABASE {database} SET idle_in_transaction_session_timeout = '60s';

-- block: owner
-- Migrates, prunes and sets policies without being a superuser.
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {role};
GRANT USAGE, CREATE ON SCHEMA public TO {role};

-- block: belongings
-- Existing objects are given to the owner, and their jobs with them.
DO $$
DECLARE
    owner text := current_setting('timeseries.owner');
    continuous regclass[] := ARRAY[]::regclass[];
    belonging record;
BEGIN
    IF to_regclass('timescaledb_information.continuous_aggregates') IS NOT NULL THEN
        SELECT coalesce(array_agg(format('%I.%I', view_schema, view_name)::regclass), continuous)
        INTO continuous
        FROM timescaledb_information.continuous_aggregates;
        -- Jobs run with the settings of their owner. lock_timeout is bounded, because writers queue behind a job that
        -- waits for a lock.
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET lock_timeout = %L', owner, current_database(), '3s');
    END IF;
    EXECUTE format('ALTER SCHEMA timeseries OWNER TO %I', owner);
    FOR belonging IN
        SELECT CASE WHEN c.relkind = 'r' THEN 'TABLE'
                    WHEN c.oid = ANY (continuous) THEN 'MATERIALIZED VIEW'
                    ELSE 'VIEW' END AS kind,
               c.oid::regclass::text AS name
        FROM pg_class AS c
        WHERE c.relkind IN ('r', 'v')
          AND (c.relnamespace = 'timeseries'::regnamespace
               OR c.relnamespace = 'public'::regnamespace
               AND c.relname ~ '^(cameras|camera_groups|alembic_version)$|^(occupancy|health|store|group)_')
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text
        FROM pg_proc AS p
        WHERE p.pronamespace = 'timeseries'::regnamespace
           OR p.pronamespace = 'public'::regnamespace
           AND p.proname ~ '^((occupancy|health|store|group)_|(latest|calendar)$)'
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text
        FROM pg_type AS t
        LEFT JOIN pg_class AS c ON c.oid = t.typrelid
        WHERE t.typnamespace = 'timeseries'::regnamespace AND (c.relkind = 'c' OR t.typtype = 'r')
           OR t.typnamespace = 'public'::regnamespace AND t.typname IN ('desired_state', 'health_status')
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', belonging.kind, belonging.name, owner);
    END LOOP;
    -- Releases before 2.25 leave a job to the role that made it. They change no more, so their private table is safe to
    -- name; newer ones have it elsewhere.
    IF to_regclass('_timescaledb_config.bgw_job') IS NOT NULL THEN
        EXECUTE 'UPDATE _timescaledb_config.bgw_job AS j SET owner = $1::regrole
                 FROM timescaledb_information.jobs AS named
                 WHERE named.job_id = j.id AND j.owner <> $1::regrole AND named.hypertable_name IS NOT NULL'
        USING quote_ident(owner);
    END IF;
END
$$;

-- block: deviations
-- Privileges that deviate from what was granted, or that PUBLIC has, one sentence a row.
WITH store AS (
    SELECT c.relowner AS owner, n.nspacl AS acl
    FROM pg_class AS c, pg_namespace AS n
    WHERE c.oid = 'public.cameras'::regclass AND n.nspname = 'timeseries'
),
granted AS (
    SELECT DISTINCT
        r.oid, r.rolname, r.rolconnlimit,
        CASE
            WHEN has_table_privilege(r.oid, 'public.occupancy_events', 'INSERT')
            THEN CASE WHEN has_column_privilege(r.oid, 'public.cameras', 'zone_config', 'SELECT')
                 THEN 'worker' ELSE 'ingest' END
            WHEN has_any_column_privilege(r.oid, 'public.cameras', 'INSERT') THEN 'control'
            ELSE 'reader'
        END AS kind,
        r.rolsuper OR r.rolcreaterole OR r.rolbypassrls OR r.rolreplication OR pg_has_role(r.oid, s.owner, 'MEMBER') AS mighty
    FROM store AS s
    CROSS JOIN LATERAL aclexplode(s.acl) AS a
    JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE r.oid <> s.owner
      -- A role that records backups and reads nothing is of neither kind.
      AND NOT (has_function_privilege(r.oid, 'timeseries.record_backup(text)', 'EXECUTE')
               AND NOT has_any_column_privilege(r.oid, 'public.cameras', 'SELECT'))
),
wanted (kind, relation, privileges) AS (
    SELECT kind, 'public.alembic_version', ARRAY['SELECT']
    FROM unnest(ARRAY['ingest', 'worker', 'control', 'reader']) AS kind
    UNION ALL
    SELECT kind, 'public.' || relation, ARRAY['SELECT', 'INSERT']
    FROM unnest(ARRAY['ingest', 'worker']) AS kind, unnest(ARRAY['occupancy_events', 'health_logs']) AS relation
    UNION ALL
    SELECT kind, format('public.%s_%s', family, level), ARRAY['SELECT']
    FROM unnest(ARRAY['control', 'reader']) AS kind,
        unnest(ARRAY['occupancy', 'health']) AS family,
        unnest(ARRAY['quarter_hourly', 'hourly', 'weekday']) AS level
    UNION ALL
    SELECT kind, 'timeseries.camera_versions', ARRAY['SELECT'] FROM unnest(ARRAY['worker', 'control']) AS kind
    UNION ALL
    SELECT kind, 'public.' || relation,
           CASE kind WHEN 'control' THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] ELSE ARRAY['SELECT'] END
    FROM unnest(ARRAY['worker', 'control', 'reader']) AS kind, unnest(ARRAY['camera_groups', 'group_members']) AS relation
    UNION ALL
    VALUES
        ('worker', 'public.cameras', ARRAY['SELECT']), ('control', 'public.cameras', ARRAY['DELETE']),
        ('worker', 'timeseries.periods', ARRAY['SELECT']), ('reader', 'timeseries.periods', ARRAY['SELECT']),
        ('control', 'timeseries.periods', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'])
),
-- NULL stands for every column.
wanted_columns (kind, privilege, columns) AS (
    VALUES
        ('ingest', 'SELECT', ARRAY['id', 'name']::name[]),
        ('worker', 'SELECT', NULL),
        ('reader', 'SELECT', ARRAY[
            'id', 'name', 'timezone', 'capacity', 'hold', 'desired_state', 'past_capacities',
            'opening_hours'
        ]),
        ('control', 'SELECT', ARRAY[
            'id', 'name', 'timezone', 'capacity', 'hold', 'desired_state', 'zone_config', 'created_at', 'revision',
            'changed_at', 'changed_by', 'past_capacities',
            'opening_hours'
        ]),
        ('control', 'INSERT', ARRAY[
            'id', 'name', 'connection_string', 'zone_config', 'capacity', 'desired_state', 'timezone', 'hold',
            'created_at', 'past_capacities',
            'opening_hours'
        ]),
        ('control', 'UPDATE', ARRAY[
            'name', 'connection_string', 'zone_config', 'capacity', 'desired_state', 'timezone', 'hold',
            'past_capacities',
            'opening_hours'
        ])
),
-- All privileges of the granted roles; those on columns of cameras by column.
held AS (
    SELECT g.rolname, g.kind, t.relation, p.privilege
    FROM granted AS g
    CROSS JOIN (SELECT DISTINCT relation FROM wanted) AS t
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS p (privilege)
    WHERE NOT g.mighty
      AND CASE WHEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE') AND t.relation <> 'public.cameras'
          THEN has_any_column_privilege(g.oid, t.relation, p.privilege)
          ELSE has_table_privilege(g.oid, t.relation, p.privilege) END
),
columns AS (
    SELECT g.rolname, g.kind, p.privilege, a.attname,
        has_column_privilege(g.oid, a.attrelid, a.attnum, p.privilege) AS held,
        w.kind IS NOT NULL AND coalesce(a.attname = ANY (w.columns), true) AS wanted
    FROM granted AS g
    CROSS JOIN pg_attribute AS a
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p (privilege)
    LEFT JOIN wanted_columns AS w ON w.kind = g.kind AND w.privilege = p.privilege
    WHERE NOT g.mighty AND a.attrelid = 'public.cameras'::regclass AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT 'anybody may create objects in the schema public: run timeseries grant'
WHERE has_schema_privilege('public', 'public', 'CREATE')
UNION ALL
SELECT format('anybody may execute %s, which should be for the owner: run timeseries grant as a superuser',
              string_agg(p.oid::regproc::text, ', ' ORDER BY p.oid))
FROM pg_proc AS p
WHERE (p.proname IN ('add_job', 'alter_job', 'delete_job', 'run_job', 'drop_chunks')
       AND EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                   WHERE d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'timescaledb')
       OR p.pronamespace = 'public'::regnamespace AND p.proname IN ('latest', 'health_states')
       OR p.pronamespace = 'timeseries'::regnamespace AND p.prosecdef AND p.provolatile = 'v'
       AND p.prorettype <> 'trigger'::regtype)
  AND has_function_privilege('public', p.oid, 'EXECUTE')
  AND EXISTS (SELECT FROM granted)
HAVING count(*) > 0
UNION ALL
SELECT format('the role %I was granted as %s, but may do everything: take that away from it', rolname, kind)
FROM granted
WHERE mighty
UNION ALL
SELECT format('the role %I may read cameras.connection_string, and is neither owner nor worker: revoke that', r.rolname)
FROM pg_roles AS r, store AS s
WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND r.oid <> s.owner
  AND NOT pg_has_role(r.oid, s.owner, 'MEMBER') AND NOT pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER')
  AND has_column_privilege(r.oid, 'public.cameras', 'connection_string', 'SELECT')
  AND NOT EXISTS (SELECT FROM granted AS g WHERE g.oid = r.oid AND g.kind = 'worker')
UNION ALL
SELECT format('the role %I (%s) may%s %s public.cameras (%s): run timeseries grant --%s %I', rolname, kind,
              CASE WHEN held THEN '' ELSE ' not' END, privilege, string_agg(attname, ', ' ORDER BY attname), kind, rolname)
FROM columns
WHERE held <> wanted AND NOT (held AND attname = 'connection_string' AND privilege = 'SELECT')
GROUP BY rolname, kind, privilege, held
UNION ALL
SELECT format('the role %I (%s) may %s %s: run timeseries grant --%s %I', h.rolname, h.kind,
              string_agg(h.privilege, ', '), h.relation, h.kind, h.rolname)
FROM held AS h
LEFT JOIN wanted AS w ON w.kind = h.kind AND w.relation = h.relation AND h.privilege = ANY (w.privileges)
WHERE w.kind IS NULL
GROUP BY h.rolname, h.kind, h.relation
UNION ALL
SELECT format('the role %I (%s) may not %s: run timeseries grant --%s %I', g.rolname, g.kind,
              string_agg(p.privilege || ' ' || w.relation, ', '), g.kind, g.rolname)
FROM granted AS g
JOIN wanted AS w USING (kind)
CROSS JOIN LATERAL unnest(w.privileges) AS p (privilege)
WHERE NOT has_table_privilege(g.oid, w.relation, p.privilege)
GROUP BY g.rolname, g.kind
UNION ALL
SELECT format('the role %I (%s) may not execute %s: run timeseries grant --%s %I', g.rolname, g.kind,
              string_agg(p.oid::regproc::text, ', ' ORDER BY p.oid), g.kind, g.rolname)
FROM granted AS g
JOIN pg_proc AS p
    ON g.kind IN ('ingest', 'worker') AND p.pronamespace = 'timeseries'::regnamespace
        AND p.proname IN ('make_chunks', 'sealed', 'note_change', 'materialize', 'retain')
    OR g.kind IN ('control', 'reader') AND p.pronamespace = 'public'::regnamespace
        AND p.proname ~ '^(store_|latest$|health_states$)'
WHERE NOT has_function_privilege(g.oid, p.oid, 'EXECUTE')
GROUP BY g.rolname, g.kind
UNION ALL
SELECT format('the role %I (reader) has no limit on %s: run timeseries grant --reader %I', g.rolname, l.missing, g.rolname)
FROM granted AS g
LEFT JOIN (
    SELECT setrole, string_agg(array_to_string(setconfig, ' '), ' ') AS settings
    FROM pg_db_role_setting
    WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    GROUP BY setrole
) AS c ON c.setrole = g.oid
CROSS JOIN LATERAL (
    VALUES ('connections', g.rolconnlimit >= 0), ('the time of a statement', c.settings ~ 'statement_timeout=[1-9]')
) AS l (missing, there)
WHERE g.kind = 'reader' AND l.there IS NOT TRUE
