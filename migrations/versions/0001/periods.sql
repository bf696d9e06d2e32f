-- Periods of cameras that answers treat apart. They begin and end on a quarter of an hour, because the summary of a
-- quarter is all that stays when its raw rows are gone. What was observed is never changed by a period.
CREATE TABLE timeseries.periods (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    camera_id  uuid        NOT NULL,
    start_at   timestamptz NOT NULL,
    end_at     timestamptz,
    kind       text        NOT NULL,
    text       text        NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL,
    changed_by text        NOT NULL,
    CONSTRAINT pk_periods PRIMARY KEY (id),
    CONSTRAINT fk_periods_camera_id FOREIGN KEY (camera_id) REFERENCES public.cameras (id) ON DELETE CASCADE,
    CONSTRAINT ck_periods_kind CHECK (kind IN ('wrong', 'closed', 'maintenance', 'note')),
    CONSTRAINT ck_periods_text CHECK (length(text) <= 1000),
    CONSTRAINT ck_periods_order CHECK (end_at > start_at),
    CONSTRAINT ck_periods_start_at CHECK (
        start_at >= '1970-01-01 00:00:00+00' AND date_bin('15 minutes', start_at, '1970-01-01 00:00:00+00') = start_at),
    CONSTRAINT ck_periods_end_at CHECK (
        isfinite(end_at) AND date_bin('15 minutes', end_at, '1970-01-01 00:00:00+00') = end_at)
);
COMMENT ON TABLE timeseries.periods IS
    'wrong: counts not to be trusted, the occupancy is unknown. closed: the time is in no occupancy answer. maintenance: '
    'it is in no answer about health. note: nothing changes. Without end_at the period lasts.';
CREATE INDEX ix_periods_camera_id ON timeseries.periods (camera_id, start_at);

-- Who and when is the database's alone, as with cameras.
CREATE FUNCTION timeseries.sign_period() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.changed_at := clock_timestamp();
    NEW.changed_by := timeseries.changing_by();
    RETURN NEW;
END
$$;
CREATE TRIGGER sign_period BEFORE INSERT OR UPDATE ON timeseries.periods
    FOR EACH ROW EXECUTE FUNCTION timeseries.sign_period();
