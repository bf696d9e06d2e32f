-- Every version of every camera, kept for good: it outlives the camera. Nothing secret is in it, of connection strings
-- only that they changed.
CREATE TABLE timeseries.camera_versions (
    number        bigint               NOT NULL GENERATED ALWAYS AS IDENTITY,
    transaction   xid8                 NOT NULL DEFAULT pg_current_xact_id(),
    kind          text                 NOT NULL,
    changed       text[]               NOT NULL,
    role          text                 NOT NULL DEFAULT session_user,
    camera_id     uuid                 NOT NULL,
    name          varchar(200)         NOT NULL,
    zone_config   jsonb                NOT NULL,
    capacity      integer,
    desired_state public.desired_state NOT NULL,
    timezone      text                 NOT NULL,
    hold          interval             NOT NULL,
    created_at    timestamptz          NOT NULL,
    revision      bigint               NOT NULL,
    changed_at    timestamptz          NOT NULL,
    changed_by    text                 NOT NULL,
    past_capacities jsonb              NOT NULL,
    opening_hours jsonb,
    CONSTRAINT pk_camera_versions PRIMARY KEY (number),
    CONSTRAINT uq_camera_versions_camera_id UNIQUE (camera_id, revision),
    CONSTRAINT ck_camera_versions_kind CHECK (kind IN ('added', 'changed', 'removed'))
);
COMMENT ON COLUMN timeseries.camera_versions.transaction IS
    'What committed since a snapshot is found by it, because numbers commit out of order.';
CREATE INDEX ix_camera_versions_transaction ON timeseries.camera_versions (transaction);
CREATE INDEX ix_camera_versions_name ON timeseries.camera_versions (name);
CREATE INDEX ix_camera_versions_maintenance ON timeseries.camera_versions (camera_id)
    WHERE desired_state = 'maintenance';

-- Who changes a camera: the person that the client names, else the role.
CREATE FUNCTION timeseries.changing_by() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(nullif(current_setting('timeseries.changed_by', true), ''), session_user)
$$;

-- The revision, with who and when, is the database's alone: what a client sends is overwritten. A camera that is added
-- again under its old id goes on counting. The triggers have the owner's rights, because who changes cameras does not
-- write their history.
CREATE FUNCTION timeseries.revise_camera() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.revision := OLD.revision;
        NEW.changed_at := OLD.changed_at;
        NEW.changed_by := OLD.changed_by;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
        NEW.revision := OLD.revision + 1;
    ELSE
        NEW.revision := 1 + coalesce(
            (SELECT max(v.revision) FROM timeseries.camera_versions AS v WHERE v.camera_id = NEW.id), 0);
    END IF;
    NEW.changed_at := clock_timestamp();
    NEW.changed_by := timeseries.changing_by();
    RETURN NEW;
END
$$;
CREATE TRIGGER revise_camera BEFORE INSERT OR UPDATE ON public.cameras
    FOR EACH ROW EXECUTE FUNCTION timeseries.revise_camera();

-- Watchers are notified once a transaction. Only changes of cameras notify, because commits that do wait for each other.
CREATE FUNCTION timeseries.record_camera() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    camera public.cameras := coalesce(NEW, OLD);
    changed text[] := '{}';
BEGIN
    IF camera.name = 'timeseries: watermark' AND TG_OP <> 'UPDATE' THEN
        RETURN NULL;  -- it moves watermarks, and is no camera to anybody
    END IF;
    IF TG_OP = 'DELETE' THEN
        camera.revision := OLD.revision + 1;
        camera.changed_at := clock_timestamp();
        camera.changed_by := timeseries.changing_by();
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.revision = OLD.revision THEN
            RETURN NULL;
        END IF;
        SELECT array_agg(n.key ORDER BY n.key) INTO changed
        FROM jsonb_each(to_jsonb(NEW)) AS n
        JOIN jsonb_each(to_jsonb(OLD)) AS o ON o.key = n.key AND o.value IS DISTINCT FROM n.value
        WHERE n.key NOT IN ('revision', 'changed_at', 'changed_by');
    END IF;
    INSERT INTO timeseries.camera_versions (
        kind, changed, camera_id, name, zone_config, capacity, desired_state, timezone, hold, created_at, revision,
        changed_at, changed_by, past_capacities,
        opening_hours
    )
    SELECT
        CASE TG_OP WHEN 'INSERT' THEN 'added' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END, changed, camera.id,
        camera.name, camera.zone_config, camera.capacity, camera.desired_state, camera.timezone, camera.hold,
        camera.created_at, camera.revision, camera.changed_at, camera.changed_by,
        camera.past_capacities,
        camera.opening_hours;
    PERFORM pg_notify('timeseries_cameras', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER record_camera AFTER INSERT OR UPDATE OR DELETE ON public.cameras
    FOR EACH ROW EXECUTE FUNCTION timeseries.record_camera();
