-- The local buckets of groups, from those of their members.
--
-- The count of a group is the sum of its members' counts. A quarter of an hour counts where it has a member and every
-- member of it is known in the whole of it (of the running one: until now). So the number is the same before and after
-- raw rows are gone, and a camera that is missing lowers coverage and never the average.
--
-- Whole buckets are looked at first. One whose members are all known throughout counts as a whole, and one in which a
-- member is never known does not count: by the definition that is what its quarters would say. All other buckets are
-- looked at again by quarters. Where the members change a bucket is in two pieces. Of a calendar, and of a width other
-- than quarter, hour and day, the parts that count are put together from days, hours or quarters in the same way.
-- A period of a member, wrong or closed, is time in which this member is not known.

-- A camera is a member in [since, until).
CREATE TYPE timeseries.group_member AS (
    camera_id uuid,
    since     timestamptz,
    until     timestamptz
);

-- A part of the range, with the sums over its members: counted_seconds of it count, all or none of them (NULL: it must
-- be looked at more closely). occupied_min and occupied_max are the sums of the members' least and most.
CREATE TYPE timeseries.group_piece AS (
    piece_from      timestamptz,
    piece_until     timestamptz,
    members         integer,
    samples         bigint,
    occupied_min    bigint,
    occupied_max    bigint,
    car_seconds     double precision,
    counted_seconds double precision
);

-- The pieces of one width in [range_start, range_end), in which these cameras are the members.
CREATE FUNCTION timeseries.group_pieces(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS SETOF timeseries.group_piece LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT l.piece_from, l.piece_until, cardinality(camera_ids), coalesce(s.samples, 0), s.occupied_min, s.occupied_max,
           s.car_seconds,
           CASE WHEN s.least_known IS NULL OR s.least_known <= 0 OR l.elapsed <= 0 THEN 0
                WHEN s.least_known >= l.elapsed - 5e-7 THEN l.elapsed  -- less, because it is a sum of fractions
                WHEN width = 'quarter' THEN 0 END
    FROM (
        SELECT row_number() OVER (ORDER BY l.bucket) AS number, p.piece_from, p.piece_until,
               date_part('epoch', least(p.piece_until, now()) - p.piece_from) AS elapsed
        FROM timeseries.local_buckets(range_start, range_end, width, time_zone) AS l
        CROSS JOIN LATERAL (
            SELECT greatest(l.bucket, range_start) AS piece_from, least(l.bucket_end, range_end) AS piece_until
        ) AS p
        WHERE l.bucket < l.bucket_end
    ) AS l
    LEFT JOIN (
        -- Many cameras come in two halves.
        SELECT b.label, sum(b.samples)::bigint AS samples, sum(b.occupied_min) AS occupied_min,
               sum(b.occupied_max) AS occupied_max, sum(b.car_seconds) AS car_seconds,
               min(b.known_seconds) AS least_known
        FROM timeseries.occupancy_buckets(camera_ids, range_start, range_end, width, time_zone, 'members') AS b
        GROUP BY b.label
    ) AS s ON s.label = l.number
$$;

-- The pieces of [range_start, range_end), in which these cameras are the members: of a width, and quarters where all members
-- have some known time and one of them not all. Hours between days and quarters would cost more than they save.
CREATE FUNCTION timeseries.group_pieces_to_quarters(
    camera_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text
) RETURNS timeseries.group_piece[] LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    pieces timeseries.group_piece[] := ARRAY(
        SELECT p FROM timeseries.group_pieces(camera_ids, range_start, range_end, width, time_zone) AS p);
    -- How far parts may be from each other for the rows between them to cost less than another call.
    near   CONSTANT interval := 2000 / greatest(1, cardinality(camera_ids)) * interval '15 minutes';
    found  timeseries.group_piece[] := '{}';
    run    record;
BEGIN
    FOR run IN
        SELECT min(r.piece_from) AS piece_from, max(r.piece_until) AS piece_until,
               range_agg(tstzrange(r.piece_from, r.piece_until)) AS parts
        FROM (
            SELECT s.*, count(*) FILTER (WHERE s.is_far) OVER (ORDER BY s.piece_from) AS number
            FROM (
                SELECT p.piece_from, p.piece_until,
                       p.piece_from > lag(p.piece_until) OVER (ORDER BY p.piece_from) + near AS is_far
                FROM unnest(pieces) AS p
                WHERE p.counted_seconds IS NULL
            ) AS s
        ) AS r
        GROUP BY r.number
    LOOP
        found := found || ARRAY(
            SELECT p
            FROM timeseries.group_pieces(camera_ids, run.piece_from, run.piece_until, 'quarter', time_zone) AS p
            WHERE multirange_contains_elem(run.parts, p.piece_from));
    END LOOP;
    RETURN CASE WHEN found = '{}' THEN pieces
                ELSE found || ARRAY(SELECT p FROM unnest(pieces) AS p WHERE p.counted_seconds IS NOT NULL) END;
END
$$;

-- The least and the most of the sum in each of the pieces, which cover [range_start, range_end) without a gap, and how
-- many raw rows of members lie in it: where these are as many as its samples, all are there, and both are exact. Besides
-- raw rows the last counts of stored quarters are read, because they stand in pieces after those whose raw rows are gone.
CREATE FUNCTION timeseries.group_extremes(
    members timeseries.group_member[], pieces timestamptz[], range_end timestamptz
) RETURNS TABLE (piece integer, occupied_min bigint, occupied_max bigint, samples bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    marks          CONSTANT record := timeseries.watermarks('occupancy');
    quarters_until CONSTANT timestamptz := marks.quarters_until;
    raw_from       CONSTANT timestamptz := marks.raw_from;
    ids            CONSTANT uuid[] := ARRAY(SELECT DISTINCT m.camera_id FROM unnest(members) AS m);
    range_start    CONSTANT timestamptz := pieces[1];
    carry_from     CONSTANT timestamptz := range_start - interval '15 minutes' - (
        SELECT make_interval(secs => max(date_part('epoch', c.hold))) FROM public.cameras AS c WHERE c.id = ANY (ids));
    until_at       CONSTANT timestamptz := least(range_end, now());
BEGIN
    IF range_start IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH counts AS (
        SELECT o.camera_id, o.at, min(o.occupied_count) AS occupied_count, bool_or(o.is_raw) AS is_raw,
               lead(o.at, 1, until_at) OVER (PARTITION BY o.camera_id ORDER BY o.at) AS next_at
        FROM (
            SELECT e.camera_id, e."timestamp" AS at, e.occupied_count, true AS is_raw
            FROM public.occupancy_events AS e
            WHERE e.camera_id = ANY (ids) AND e."timestamp" >= range_start AND e."timestamp" < range_end
            UNION ALL
            SELECT q.camera_id, q.last_at, q.last_count, false
            FROM timeseries.occupancy_stored_quarters AS q
            WHERE q.camera_id = ANY (ids) AND q.bucket >= range_start AND q.bucket < least(range_end, quarters_until)
            UNION ALL
            -- What stands when the range begins.
            SELECT i.id, before.at, before.occupied_count, false
            FROM unnest(ids) AS i (id)
            CROSS JOIN LATERAL (
                (
                    SELECT q.last_at AS at, q.last_count AS occupied_count
                    FROM timeseries.occupancy_stored_quarters AS q
                    WHERE q.camera_id = i.id AND q.bucket >= carry_from AND q.bucket < least(range_start, quarters_until)
                    ORDER BY q.bucket DESC
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT e."timestamp", e.occupied_count
                    FROM public.occupancy_events AS e
                    WHERE e.camera_id = i.id
                      AND e."timestamp" >= greatest(carry_from, raw_from) AND e."timestamp" < range_start
                    ORDER BY e."timestamp" DESC
                    LIMIT 1
                )
            ) AS before
        ) AS o
        GROUP BY o.camera_id, o.at
    ),
    stood AS (
        SELECT greatest(c.at, m.since, range_start) AS begins_at, least(c.next_at, m.until) AS ends_at,
               c.occupied_count, c.is_raw AND c.at >= m.since AND c.at < m.until AND c.at >= range_start AS is_sample
        FROM counts AS c
        JOIN unnest(members) AS m ON m.camera_id = c.camera_id AND c.at < m.until AND c.next_at > m.since
        WHERE c.next_at > range_start OR c.at >= range_start
    ),
    changes AS (
        SELECT s.begins_at AS at, s.occupied_count AS change, s.is_sample FROM stood AS s
        UNION ALL
        SELECT s.ends_at, -s.occupied_count, false FROM stood AS s WHERE s.ends_at < until_at
        UNION ALL
        SELECT p, 0, false FROM unnest(pieces) AS p
    ),
    sums AS (
        SELECT c.at, sum(sum(c.change)) OVER (ORDER BY c.at)::bigint AS occupied_count,
               count(*) FILTER (WHERE c.is_sample) AS samples
        FROM changes AS c
        GROUP BY c.at
    )
    SELECT width_bucket(s.at, pieces), min(s.occupied_count) FILTER (WHERE s.at < until_at),
           max(s.occupied_count) FILTER (WHERE s.at < until_at), sum(s.samples)::bigint
    FROM sums AS s
    GROUP BY 1;
END
$$;

-- The buckets of one group. Extremes are exact where that takes to read no more than `exact_rows` raw rows (NULL: any
-- number); otherwise they are bounds.
CREATE FUNCTION timeseries.occupancy_of_group(
    group_id uuid, range_start timestamptz, range_end timestamptz, width text, time_zone text, exact_rows bigint,
    calendar timeseries.calendar
) RETURNS TABLE (
    bucket timestamptz, local_start timestamp, samples bigint, occupied_min bigint, occupied_max bigint,
    extremes_exact boolean, car_seconds double precision, counted_seconds double precision,
    span_seconds double precision
) LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    zone       CONSTANT text := coalesce(time_zone, timeseries.group_zone(group_id));
    until_at   CONSTANT timestamptz := date_bin('15 minutes', coalesce(nullif(range_end, 'infinity'), now())
                                                + interval '899.999999 seconds', 'epoch');
    unit       CONSTANT text := timeseries.piece_unit(width, calendar);
    from_at    timestamptz := date_bin('15 minutes', nullif(range_start, '-infinity'), 'epoch');
    memberships timeseries.group_member[];
    pieces     timeseries.group_piece[] := '{}';
    span       record;
    is_swept   boolean;
BEGIN
    IF zone IS NULL THEN
        RAISE EXCEPTION 'the members of group % have several time zones',
            (SELECT quote_literal(g.name) FROM public.camera_groups AS g WHERE g.id = group_id)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the group a time zone, or ask with one.';
    END IF;
    memberships := ARRAY(
        SELECT ROW(m.camera_id, coalesce(m.since, '-infinity'), coalesce(m.until, 'infinity'))::timeseries.group_member
        FROM public.group_members AS m
        WHERE m.group_id = occupancy_of_group.group_id AND (m.since < until_at) IS NOT FALSE
          AND (m.until > from_at) IS NOT FALSE);
    IF from_at IS NULL THEN
        -- Without a start it begins with the first observation, or when the first that has one becomes a member.
        SELECT min(greatest(date_bin('15 minutes', f.first_at, 'epoch'), m.since))
        INTO from_at
        FROM unnest(memberships) AS m
        JOIN timeseries.first_observations(ARRAY(SELECT DISTINCT m.camera_id FROM unnest(memberships) AS m)) AS f
            ON f.camera_id = m.camera_id AND f.first_at < m.until;
    END IF;
    IF from_at >= until_at IS NOT FALSE THEN
        RETURN;
    END IF;
    -- Between two changes of the members these are the same.
    FOR span IN
        SELECT c.at AS from_at, lead(c.at, 1, until_at) OVER (ORDER BY c.at) AS until_at,
               ARRAY(SELECT m.camera_id FROM unnest(memberships) AS m WHERE m.since <= c.at AND m.until > c.at) AS members
        FROM (
            SELECT from_at AS at
            UNION
            SELECT b.at
            FROM unnest(memberships) AS m
            CROSS JOIN LATERAL (VALUES (m.since), (m.until)) AS b (at)
            WHERE b.at > from_at AND b.at < until_at
        ) AS c
    LOOP
        pieces := pieces || timeseries.group_pieces_to_quarters(span.members, span.from_at, span.until_at, unit, zone);
    END LOOP;
    is_swept := exact_rows IS NULL OR exact_rows >= (SELECT sum(p.samples) FROM unnest(pieces) AS p);
    IF is_swept THEN
        pieces := ARRAY(SELECT p FROM unnest(pieces) AS p ORDER BY p.piece_from);
    END IF;

    RETURN QUERY
    WITH buckets AS (
        SELECT b.edge, b.bucket, b.local_start, row_number() OVER (ORDER BY b.edge) AS number
        FROM timeseries.bucket_pieces(from_at, until_at, width, zone, calendar) AS b
        WHERE b.edge < until_at
    )
    SELECT b.bucket, b.local_start, sum(p.samples)::bigint,
           min(CASE WHEN s.is_exact THEN e.occupied_min ELSE p.occupied_min END) FILTER (WHERE p.counted_seconds > 0),
           max(CASE WHEN s.is_exact THEN e.occupied_max ELSE p.occupied_max END) FILTER (WHERE p.counted_seconds > 0),
           bool_and(p.counted_seconds = 0 OR s.is_exact IS TRUE OR p.members = 1 AND p.piece_until <= now()),
           sum(p.car_seconds) FILTER (WHERE p.counted_seconds > 0), sum(p.counted_seconds),
           sum(date_part('epoch', p.piece_until - p.piece_from))
    FROM unnest(pieces) WITH ORDINALITY AS p (
        piece_from, piece_until, members, samples, occupied_min, occupied_max, car_seconds, counted_seconds, number)
    LEFT JOIN timeseries.group_extremes(
        memberships, (SELECT array_agg(p.piece_from) FROM unnest(pieces) AS p WHERE is_swept), until_at
    ) AS e ON e.piece = p.number
    CROSS JOIN LATERAL (SELECT e.samples = p.samples AS is_exact) AS s
    JOIN buckets AS b
        ON b.number = width_bucket(p.piece_from, (SELECT array_agg(b.edge ORDER BY b.number) FROM buckets AS b))
    WHERE isfinite(b.bucket)
    GROUP BY b.bucket, b.local_start;
END
$$;

-- Groups have a range and a zone of their own each, so they are asked one after another. With `per` the buckets are added
-- up as in occupancy_buckets.
CREATE FUNCTION timeseries.group_buckets(
    group_ids uuid[], range_start timestamptz, range_end timestamptz, width text, time_zone text,
    exact_rows bigint, per text DEFAULT NULL, calendar timeseries.calendar DEFAULT NULL
) RETURNS TABLE (
    group_id uuid, bucket timestamptz, local_start timestamp, label integer, samples bigint, occupied_min bigint,
    occupied_max bigint, extremes_exact boolean, car_seconds double precision, counted_seconds double precision,
    span_seconds double precision
) LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT g.id, b.bucket, b.local_start, NULL, b.samples, b.occupied_min, b.occupied_max, b.extremes_exact,
           b.car_seconds, b.counted_seconds, b.span_seconds
    FROM public.camera_groups AS g
    CROSS JOIN LATERAL timeseries.occupancy_of_group(g.id, $2, $3, $4, $5, $6, $8) AS b
    WHERE (group_ids IS NULL OR g.id = ANY (group_ids)) AND per IS NULL
    UNION ALL
    SELECT g.id, NULL, NULL, l.label, sum(b.samples)::bigint, min(b.occupied_min), max(b.occupied_max),
           bool_and(b.extremes_exact), sum(b.car_seconds), sum(b.counted_seconds), sum(b.span_seconds)
    FROM public.camera_groups AS g
    CROSS JOIN LATERAL timeseries.occupancy_of_group(g.id, $2, $3, $4, $5, $6, $8) AS b
    CROSS JOIN LATERAL (
        SELECT CASE per WHEN 'weekday' THEN extract(isodow FROM b.local_start)
                        ELSE extract(isodow FROM b.local_start) * 24 + extract(hour FROM b.local_start)
                        END::integer AS label
    ) AS l
    WHERE (group_ids IS NULL OR g.id = ANY (group_ids)) AND per IS NOT NULL
    GROUP BY g.id, l.label
$$;
