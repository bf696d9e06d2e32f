-- The archive of raw rows: where it is, which UTC days are in it, and what retention may remove while there is one.
-- The store writes the files; the database knows only their counts and checksums.

-- No row where no archive is configured. The destination has no credentials in it, because the store refuses such URIs.
CREATE TABLE timeseries.archive (
    only_row    boolean     NOT NULL DEFAULT true,
    destination text        NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    error       text,
    CONSTRAINT pk_archive PRIMARY KEY (only_row),
    CONSTRAINT ck_archive_only_row CHECK (only_row)
);

-- A row per file, and per day without raw rows. A part is a file of its own, because events of a day whose raw rows
-- were removed cannot be written into the file that has the others. The current part of a day is the one that is not
-- removed yet: it holds all raw rows that the database has of that day.
CREATE TABLE timeseries.archived_days (
    family      text    NOT NULL,
    day         date    NOT NULL,
    part        integer NOT NULL DEFAULT 0,
    rows        bigint,
    checksum    numeric,
    begun_at    timestamptz,
    archived_at timestamptz,
    changed_at  timestamptz,
    removed_at  timestamptz,
    CONSTRAINT pk_archived_days PRIMARY KEY (family, day, part)
);
CREATE UNIQUE INDEX uq_archived_days_current ON timeseries.archived_days (family, day) WHERE removed_at IS NULL;
COMMENT ON COLUMN timeseries.archived_days.day IS 'In UTC.';
COMMENT ON COLUMN timeseries.archived_days.begun_at IS 'When the archive began to write the file, which is ours since.';
COMMENT ON COLUMN timeseries.archived_days.archived_at IS 'When the file was verified; NULL while it is written.';
COMMENT ON COLUMN timeseries.archived_days.changed_at IS 'When raw rows of the day changed after they were read.';
COMMENT ON COLUMN timeseries.archived_days.removed_at IS 'When retention removed the raw rows: the file is final.';

-- Called by the transaction that stores late events or corrections. The table's lock is held to the end of that
-- transaction also where no row is changed: the archive waits for it before it takes its snapshot, so a change is in
-- the snapshot or is noted here.
CREATE FUNCTION timeseries.note_change(family text, quarters timestamptz[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    days CONSTANT date[] := (SELECT array_agg(DISTINCT (q AT TIME ZONE 'UTC')::date) FROM unnest(quarters) AS q);
BEGIN
    UPDATE timeseries.archived_days AS a
    SET changed_at = now()
    WHERE (a.family, a.day, a.part) IN (
        SELECT c.family, c.day, c.part
        FROM timeseries.archived_days AS c
        WHERE c.family = note_change.family AND c.day = ANY (days) AND c.removed_at IS NULL AND c.changed_at IS NULL
        ORDER BY c.day  -- one order for all sessions, because they would deadlock in different ones
        FOR UPDATE);
    INSERT INTO timeseries.archived_days (family, day, part, changed_at)
        SELECT a.family, a.day, max(a.part) + 1, now()
        FROM timeseries.archived_days AS a
        WHERE a.family = note_change.family AND a.day = ANY (days)
        GROUP BY a.family, a.day
        HAVING bool_and(a.removed_at IS NOT NULL)
        ORDER BY a.day
    ON CONFLICT DO NOTHING;
END
$$;

-- Whether retention may remove the raw rows of a UTC day: all of them are in the archive, or there is no archive.
CREATE FUNCTION timeseries.is_archived(family text, day timestamptz)
RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM timeseries.archive)
        OR EXISTS (SELECT FROM timeseries.archived_days AS a
                   WHERE a.family = $1 AND a.day = ($2 AT TIME ZONE 'UTC')::date
                     AND a.removed_at IS NULL AND a.archived_at IS NOT NULL AND a.changed_at IS NULL)
$$;

-- Called by the transaction that removes the raw rows of [from_at, until_at), with their number, under a lock that
-- keeps writers out. Raises where they are not all in the archive. The number is compared, because rows that were
-- stored or deleted past the store are noted nowhere.
CREATE FUNCTION timeseries.let_go(family text, from_at timestamptz, until_at timestamptz, counted bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    first_day CONSTANT date := (from_at AT TIME ZONE 'UTC')::date;
    next_day  CONSTANT date := (until_at AT TIME ZONE 'UTC')::date;
    archived bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM timeseries.archive) THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(a.rows) FILTER (WHERE a.archived_at IS NOT NULL AND a.changed_at IS NULL), 0)
    INTO archived
    FROM timeseries.archived_days AS a
    WHERE a.family = let_go.family AND a.day >= first_day AND a.day < next_day AND a.removed_at IS NULL;
    IF archived <> counted THEN
        RAISE EXCEPTION 'of % raw rows of % the archive has %: run timeseries archive', counted, first_day, archived
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE timeseries.archived_days AS a
    SET removed_at = now()
    WHERE a.family = let_go.family AND a.day >= first_day AND a.day < next_day AND a.removed_at IS NULL;
END
$$;

-- The days that the archive should have. A day is archived when it ended 25 hours ago: events younger than a day are
-- stored without a look at the archive, and the hour is more than a transaction lasts.
CREATE FUNCTION timeseries.days_to_archive(oldest timestamptz)
RETURNS SETOF date LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d::date
    FROM generate_series(($1 AT TIME ZONE 'UTC')::date::timestamp,
                         ((now() - interval '25 hours') AT TIME ZONE 'UTC')::date::timestamp - interval '1 day',
                         interval '1 day') AS d
$$;

CREATE FUNCTION public.store_archive()
RETURNS TABLE (
    name text, archived_until timestamptz, days_missing bigint, lag_seconds double precision,
    allowed_seconds double precision, finished_at timestamptz, failed boolean
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM timeseries.archive) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT t.name, coalesce(m.first_day, d.after_last) AT TIME ZONE 'UTC', m.missing,
               greatest(0, date_part('epoch', now() - interval '49 hours' - m.first_day AT TIME ZONE 'UTC')),
               172800::double precision, a.finished_at, a.error IS NOT NULL
        FROM timeseries.archive AS a
        CROSS JOIN public.store_tables() AS t
        CROSS JOIN LATERAL (
            SELECT max(d.day) + interval '1 day' AS after_last
            FROM timeseries.archived_days AS d
            WHERE d.family = split_part(t.name, '_', 1) AND d.archived_at IS NOT NULL
        ) AS d
        CROSS JOIN LATERAL (
            SELECT count(*) AS missing, min(s.day)::timestamp AS first_day
            FROM timeseries.days_to_archive(t.oldest) AS s (day)
            WHERE NOT EXISTS (
                SELECT FROM timeseries.archived_days AS c
                WHERE c.family = split_part(t.name, '_', 1) AND c.day = s.day
                HAVING bool_and(c.archived_at IS NOT NULL AND (c.removed_at IS NOT NULL OR c.changed_at IS NULL)))
        ) AS m;
END
$$;
COMMENT ON FUNCTION public.store_archive IS
    'A row per table of raw rows, none without an archive: up to when all is archived, how many days that are over are '
    'not, since how many seconds the oldest of them should be and how long that is allowed, when a run last ended well, and '
    'whether one failed since.';

REVOKE EXECUTE ON FUNCTION timeseries.note_change, timeseries.is_archived, timeseries.let_go, public.store_archive
    FROM PUBLIC;
