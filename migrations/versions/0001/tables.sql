-- Cameras, raw rows, the record of retention, and the constraints of each.

CREATE SCHEMA timeseries;
COMMENT ON SCHEMA timeseries IS 'Internals of the store: summary types, aggregates, helpers. Not an interface.';

CREATE TYPE public.desired_state AS ENUM ('running', 'stopped', 'maintenance');
CREATE TYPE public.health_status AS ENUM ('healthy', 'degraded', 'disconnected');

-- What cameras.past_capacities holds: of each past capacity until when it was that, oldest first, as
-- [{"until": "2026-03-01T00:00:00Z", "capacity": 120}], null where it is unknown. A capacity changes on a quarter of an
-- hour, because the summary of a quarter is all that stays when its raw rows are gone. Texts of this form sort by time.
CREATE FUNCTION timeseries.are_past_capacities(past jsonb) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_typeof(past) = 'array' AND coalesce(bool_and(
        p.value ?& ARRAY['until', 'capacity'] AND p.value - 'until' - 'capacity' = '{}'
        AND p.value ->> 'until' ~ '^(19[7-9]|2\d\d)\d-\d\d-\d\dT\d\d:(00|15|30|45):00Z$'
        AND (p.value ->> 'until')::timestamptz IS NOT NULL
        AND (jsonb_typeof(p.value -> 'capacity') = 'null' OR (p.value ->> 'capacity')::integer > 0)
        AND (p.value ->> 'until' > p.before) IS NOT FALSE), true)
    FROM (
        SELECT a.value, lag(a.value ->> 'until') OVER (ORDER BY a.number) AS before
        FROM jsonb_array_elements(CASE jsonb_typeof(past) WHEN 'array' THEN past ELSE '[]' END)
            WITH ORDINALITY AS a (value, number)
    ) AS p
$$;

-- What opening_hours holds: from and to by the local weekday, as {"monday": ["07:00", "20:00"]}. They differ, and are on a
-- quarter of an hour, because the summary of a quarter is all that stays when its raw rows are gone. The text of jsonb has
-- one form.
CREATE FUNCTION timeseries.are_opening_hours(hours jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hours::text ~ ('^\{("(mon|tues|wednes|thurs|fri|satur|sun)day": '
                          '\["([01]\d|2[0-3]):(00|15|30|45)", "(([01]\d|2[0-3]):(00|15|30|45)|24:00)"\][,}] ?)+$')
       AND hours::text !~ '\["([0-9:]+)", "\1"\]'
$$;

CREATE TABLE public.cameras (
    id                uuid                 NOT NULL DEFAULT gen_random_uuid(),
    name              varchar(200)         NOT NULL,
    connection_string text,
    zone_config       jsonb                NOT NULL DEFAULT '{}',
    capacity          integer,
    desired_state     public.desired_state NOT NULL DEFAULT 'running',
    timezone          text                 NOT NULL DEFAULT 'UTC',
    hold              interval             NOT NULL DEFAULT '1 day',
    created_at        timestamptz          NOT NULL DEFAULT now(),
    revision          bigint               NOT NULL,
    changed_at        timestamptz          NOT NULL,
    changed_by        text                 NOT NULL,
    past_capacities   jsonb                NOT NULL DEFAULT '[]',
    opening_hours     jsonb,
    CONSTRAINT pk_cameras PRIMARY KEY (id),
    CONSTRAINT uq_cameras_name UNIQUE (name),
    CONSTRAINT ck_cameras_name_not_blank CHECK (btrim(name) <> ''),
    CONSTRAINT ck_cameras_capacity_positive CHECK (capacity > 0),
    CONSTRAINT ck_cameras_hold_at_least_a_quarter CHECK (hold >= interval '15 minutes'),
    CONSTRAINT ck_cameras_timezone_known CHECK (
        -- Names of IANA only, because PostgreSQL also takes a rule like XYZ+3, which no client knows.
        timezone ~ '^(EST5EDT|CST6CDT|MST7MDT|PST8PDT|GMT[+-]?0|[A-Za-z][A-Za-z_-]*(/[A-Za-z0-9_+-]+)*)$'
        AND (timestamptz 'epoch' AT TIME ZONE timezone) IS NOT NULL),
    CONSTRAINT ck_cameras_opening_hours_by_weekday CHECK (timeseries.are_opening_hours(opening_hours))
);
COMMENT ON COLUMN public.cameras.connection_string IS 'Ciphertext only; a trigger refuses anything else.';
COMMENT ON COLUMN public.cameras.capacity IS 'Today''s; what it was before is in past_capacities.';
COMMENT ON COLUMN public.cameras.past_capacities IS
    'Each past capacity and until when it was that, oldest first.';
COMMENT ON COLUMN public.cameras.hold IS 'How long an observation stands when none follows.';
COMMENT ON COLUMN public.cameras.opening_hours IS
    'From and to by the local weekday, like {"monday": ["07:00", "20:00"]}; NULL: always open.';
COMMENT ON COLUMN public.cameras.revision IS 'Goes up with each change; a trigger sets it, with who and when.';

-- A trigger and no CHECK, because the error of a CHECK prints the failing row, and with it the password.
CREATE FUNCTION timeseries.guard_camera() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.id IS DISTINCT FROM OLD.id THEN
        RAISE EXCEPTION 'the id of a camera cannot be changed' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.connection_string !~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_=-]+$' THEN
        RAISE EXCEPTION 'cameras.connection_string takes ciphertext only' USING ERRCODE = 'check_violation';
    END IF;
    IF NOT timeseries.are_past_capacities(NEW.past_capacities) THEN
        RAISE EXCEPTION 'cameras.past_capacities has no list of past capacities: %', NEW.past_capacities
            USING ERRCODE = 'check_violation',
                  HINT = 'It is like [{"until": "2026-03-01T00:00:00Z", "capacity": 120}], oldest first.';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_camera BEFORE INSERT OR UPDATE ON public.cameras
    FOR EACH ROW EXECUTE FUNCTION timeseries.guard_camera();

-- Timestamps are bounded on both sides. An event far in the future would move every watermark past events still to
-- come; one of the year 1, from a clock that was never set, would stretch every query without a start over two thousand
-- years.
CREATE TABLE public.occupancy_events (
    id             bigint      NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    camera_id      uuid        NOT NULL,
    "timestamp"    timestamptz NOT NULL,
    occupied_count integer     NOT NULL,
    raw_data       jsonb,
    CONSTRAINT pk_occupancy_events PRIMARY KEY (id, "timestamp"),
    CONSTRAINT uq_occupancy_events_camera_id UNIQUE (camera_id, "timestamp"),
    CONSTRAINT fk_occupancy_events_camera_id_cameras FOREIGN KEY (camera_id)
        REFERENCES public.cameras (id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT ck_occupancy_events_count_not_negative CHECK (occupied_count >= 0),
    CONSTRAINT ck_occupancy_events_timestamp_since_1970 CHECK ("timestamp" >= 'epoch'),
    CONSTRAINT ck_occupancy_events_timestamp_not_ahead CHECK ("timestamp" <= now() + interval '5 minutes')
);

CREATE TABLE public.health_logs (
    id          bigint               NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    camera_id   uuid                 NOT NULL,
    status      public.health_status NOT NULL,
    message     text,
    "timestamp" timestamptz          NOT NULL,
    CONSTRAINT pk_health_logs PRIMARY KEY (id, "timestamp"),
    CONSTRAINT uq_health_logs_camera_id UNIQUE (camera_id, "timestamp"),
    CONSTRAINT fk_health_logs_camera_id_cameras FOREIGN KEY (camera_id)
        REFERENCES public.cameras (id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT ck_health_logs_timestamp_since_1970 CHECK ("timestamp" >= 'epoch'),
    CONSTRAINT ck_health_logs_timestamp_not_ahead CHECK ("timestamp" <= now() + interval '5 minutes')
);

-- How long raw rows are kept where no policy of TimescaleDB decides it, recorded once for pruning, status and alerts.
-- `said` is whether a length was ever set, because the first one that is set replaces the default even if it is
-- shorter.
CREATE TABLE timeseries.retention (
    only_row boolean  NOT NULL DEFAULT true,
    keep     interval NOT NULL DEFAULT '90 days',
    said     boolean  NOT NULL DEFAULT false,
    CONSTRAINT pk_retention PRIMARY KEY (only_row),
    CONSTRAINT ck_retention_only_row CHECK (only_row),
    CONSTRAINT ck_retention_keep_at_least_two_days CHECK (keep >= interval '2 days')
);
INSERT INTO timeseries.retention DEFAULT VALUES;

-- The last run of pruning. A backup leaves the row out, because retention is paused where the row is missing: a
-- restored old backup keeps its raw rows until an operator resumes.
CREATE TABLE timeseries.retention_run (
    only_row    boolean     NOT NULL DEFAULT true,
    scheduled   boolean     NOT NULL DEFAULT true,
    since       timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    removed     bigint,
    done_by     text,
    error       text,
    cron_job    text,
    CONSTRAINT pk_retention_run PRIMARY KEY (only_row),
    CONSTRAINT ck_retention_run_only_row CHECK (only_row)
);
COMMENT ON COLUMN timeseries.retention_run.since IS 'When retention was scheduled: at the first migration, or resumed.';
COMMENT ON COLUMN timeseries.retention_run.cron_job IS 'The name of the job of pg_cron that prunes, if there is one.';
INSERT INTO timeseries.retention_run DEFAULT VALUES;
