-- The local buckets of groups, from those of their members.
--
-- The count of a group is the sum of its members' counts. A quarter of an hour counts where it has a member and every
-- member of it is known in the whole of it (of the running one: until now). So the number is the same before and after
-- raw rows are gone, and a camera that is missing lowers coverage and never the average.
--
-- Whole buckets are looked at first. One whose members are all known throughout counts as a whole, and one in which a
-- member is never known does not count: by the definition that is what its quarters would say. All other buckets are
-- cut at the quarters in which a member is unknown for a moment, and what lies between them counts. These quarters are
-- found first, from the ends of gaps alone, because then all the time between is read in hours, and in one query for all
-- buckets. Where the members change a bucket is in two pieces. Of a calendar, and of a width other than quarter, hour and
-- day, the parts that count are put together from days, hours or quarters in the same way. A period of a member, wrong or
-- closed, is time in which this member is not known.

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

-- What is stored of these cameras in parts of time, and before each of them what may still stand in it, as few summaries as
-- will do: whole local days, hours, quarters, then raw rows, none of them on both sides of an edge. The last count of each
-- stands until the next one, at most until stands_until.
--
-- An observation in a period of its camera is left out, and what was counted before a period does not stand in it.
CREATE FUNCTION timeseries.group_rows(
    camera_ids uuid[], parts tstzmultirange, edges timestamptz[], width text, time_zone text
) RETURNS TABLE (
    camera_id uuid, samples integer, first_at timestamptz, last_at timestamptz, last_count integer,
    occupied_min integer, occupied_max integer, car_seconds double precision, known_seconds double precision,
    stands_until timestamptz, next_at timestamptz
) LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    tick        CONSTANT interval := '1 microsecond';
    hour        CONSTANT interval := '1 hour';
    near        CONSTANT integer := 48;  -- hours, or quarters, cost less to read than another run of them
    marks       CONSTANT record := timeseries.watermarks('occupancy');
    longest     CONSTANT interval := (
        SELECT make_interval(secs => max(date_part('epoch', c.hold)))
        FROM public.cameras AS c
        WHERE c.id = ANY (camera_ids));
    spans       CONSTANT tstzmultirange := (
        SELECT range_agg(tstzrange(date_bin('15 minutes', lower(p) - longest, 'epoch'), upper(p)))
        FROM unnest(parts) AS p);
    range_start CONSTANT timestamptz := lower(spans);
    range_end   CONSTANT timestamptz := upper(spans);
    left_out    CONSTANT timeseries.left_out[] := ARRAY(
        SELECT l FROM timeseries.left_out('occupancy', camera_ids, range_start, range_end) AS l);
    is_left_out CONSTANT boolean := cardinality(left_out) > 0;
    cuts        CONSTANT timestamptz[] := ARRAY(
        SELECT unnest(edges)
        UNION
        SELECT unnest(ARRAY[l.start_at, l.end_at]) FROM unnest(left_out) AS l
        ORDER BY 1);
    days        tstzmultirange := '{}';
    hours       tstzmultirange := '{}';
    quarters    tstzmultirange;  -- and raw rows
BEGIN
    IF width = 'day' AND isfinite(marks.days_until) AND NOT EXISTS (
        SELECT FROM public.cameras AS c WHERE c.id = ANY (camera_ids) AND c.timezone <> time_zone)
    THEN
        SELECT coalesce(range_agg(tstzrange(d.bucket, d.bucket_end)), '{}')
        INTO days
        FROM timeseries.local_days(range_start, range_end, time_zone) AS d
        WHERE d.bucket_end <= marks.days_until
          AND multirange_contains_range(spans, tstzrange(d.bucket, d.bucket_end))
          AND width_bucket(d.bucket, cuts) = width_bucket(d.bucket_end - tick, cuts);
    END IF;
    IF width <> 'quarter' AND isfinite(marks.hours_until) THEN
        SELECT coalesce(range_agg(tstzrange(h, h + hour)), '{}')
        INTO hours
        FROM unnest(spans - days) AS s
        CROSS JOIN generate_series(date_bin(hour, lower(s) + hour - tick, 'epoch'),
                                   date_bin(hour, least(upper(s), marks.hours_until), 'epoch') - hour, hour) AS h
        WHERE width_bucket(h, cuts) = width_bucket(h + hour - tick, cuts);
    END IF;
    quarters := spans - days - hours;

    RETURN QUERY
    SELECT r.*, least(r.last_at + c.hold, CASE WHEN is_left_out THEN (
               SELECT min(l.start_at) FROM unnest(left_out) AS l
               WHERE l.camera_id = r.camera_id AND l.start_at > r.last_at) END),
           lead(r.first_at, 1, range_end) OVER (PARTITION BY r.camera_id ORDER BY r.first_at)
    FROM (
        SELECT d.camera_id, d.samples, d.first_at, d.last_at, d.last_count, d.occupied_min, d.occupied_max,
               d.car_seconds, d.known_seconds
        FROM timeseries.occupancy_stored_days AS d
        WHERE d.camera_id = ANY (camera_ids) AND multirange_contains_elem(days, d.first_at)
          AND d.bucket > lower(days) - interval '24 hours' AND d.bucket < upper(days)
        UNION ALL
        -- A subquery for each camera and run, because a join would read all that lies between the runs.
        SELECT h.*
        FROM unnest(camera_ids) AS i (id)
        CROSS JOIN (
            SELECT unnest(range_agg(tstzrange(lower(h), upper(h) + near * hour))) FROM unnest(hours) AS h
        ) AS s (run)
        CROSS JOIN LATERAL (
            SELECT h.camera_id, h.samples, h.first_at, h.last_at, h.last_count, h.occupied_min, h.occupied_max,
                   h.car_seconds, h.known_seconds
            FROM timeseries.occupancy_stored_hours AS h
            WHERE h.camera_id = i.id AND h.bucket >= lower(s.run) AND h.bucket < upper(s.run)
              AND multirange_contains_elem(hours, h.bucket)
              AND h.bucket >= lower(hours) AND h.bucket < upper(hours)
            OFFSET 0
        ) AS h
        UNION ALL
        SELECT q.*
        FROM unnest(camera_ids) AS i (id)
        CROSS JOIN (
            SELECT unnest(range_agg(tstzrange(lower(q), upper(q) + near * interval '15 minutes')))
            FROM unnest(quarters) AS q
        ) AS s (run)
        CROSS JOIN LATERAL (
            SELECT q.camera_id, q.samples, q.first_at, q.last_at, q.last_count, q.occupied_min, q.occupied_max,
                   q.car_seconds, q.known_seconds
            FROM timeseries.occupancy_stored_quarters AS q
            WHERE q.camera_id = i.id AND q.bucket >= lower(s.run) AND q.bucket < upper(s.run)
              AND multirange_contains_elem(quarters, q.bucket)
              AND q.bucket >= lower(quarters) AND q.bucket < least(upper(quarters), marks.quarters_until)
            OFFSET 0
        ) AS q
        UNION ALL
        SELECT e.camera_id, 1, e."timestamp", e."timestamp", e.occupied_count, e.occupied_count, e.occupied_count, 0, 0
        FROM public.occupancy_events AS e
        WHERE e.camera_id = ANY (camera_ids) AND multirange_contains_elem(quarters, e."timestamp")
          AND e."timestamp" >= greatest(lower(quarters), marks.raw_from) AND e."timestamp" < upper(quarters)
    ) AS r
    JOIN (
        SELECT c.id, make_interval(secs => date_part('epoch', c.hold)) AS hold FROM public.cameras AS c
    ) AS c ON c.id = r.camera_id
    WHERE NOT (is_left_out AND EXISTS (
        SELECT FROM unnest(left_out) AS l
        WHERE l.camera_id = r.camera_id AND r.first_at >= l.start_at AND r.first_at < l.end_at));
END
$$;

-- The quarters of an hour in which one of these cameras is unknown for a moment.
CREATE FUNCTION timeseries.group_unknown(camera_ids uuid[], parts tstzmultirange, width text, time_zone text)
RETURNS tstzmultirange LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    up_to CONSTANT interval := '899.999999 seconds';
    edges CONSTANT timestamptz[] := ARRAY(SELECT unnest(ARRAY[lower(p), upper(p)]) FROM unnest(parts) AS p);
    gaps  tstzmultirange;
BEGIN
    WITH stood AS MATERIALIZED (
        SELECT r.camera_id, r.first_at, r.last_at, r.stands_until, r.next_at,
               r.known_seconds < date_part('epoch', r.last_at - r.first_at) - 5e-7 AS has_gap  -- a sum of fractions
        FROM timeseries.group_rows(camera_ids, parts, edges, width, time_zone) AS r
    ),
    gaps AS (
        SELECT s.stands_until AS gap_from, s.next_at AS gap_until FROM stood AS s
        UNION ALL
        SELECT lower(parts), coalesce(min(s.first_at), upper(parts))
        FROM unnest(camera_ids) AS i
        LEFT JOIN stood AS s ON s.camera_id = i
        GROUP BY i
        UNION ALL
        -- Inside a day or an hour.
        SELECT q.last_at + make_interval(secs => date_part('epoch', c.hold)),
               lead(q.first_at, 1, s.last_at) OVER (PARTITION BY s.camera_id, s.first_at ORDER BY q.first_at)
        FROM stood AS s
        JOIN public.cameras AS c ON c.id = s.camera_id
        CROSS JOIN LATERAL (
            SELECT q.first_at, q.last_at
            FROM timeseries.occupancy_stored_quarters AS q
            WHERE q.camera_id = s.camera_id AND q.bucket <= s.last_at
              AND q.bucket >= date_bin('15 minutes', s.first_at, 'epoch')
            OFFSET 0
        ) AS q
        WHERE s.has_gap
    )
    SELECT range_agg(tstzrange(date_bin('15 minutes', g.gap_from, 'epoch'),
                               date_bin('15 minutes', g.gap_until + up_to, 'epoch')))
    INTO gaps
    FROM gaps AS g
    WHERE g.gap_from < least(g.gap_until, now());
    RETURN coalesce(gaps, '{}');
END
$$;

-- What counts and what does not of pieces in which a member is known only in part.
CREATE FUNCTION timeseries.group_cut(camera_ids uuid[], pieces timeseries.group_piece[], width text, time_zone text)
RETURNS SETOF timeseries.group_piece LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    parts   CONSTANT tstzmultirange := (
        SELECT range_agg(tstzrange(p.piece_from, p.piece_until)) FROM unnest(pieces) AS p);
    unknown CONSTANT tstzmultirange := parts * timeseries.group_unknown(camera_ids, parts, width, time_zone);
    edges   CONSTANT timestamptz[] := ARRAY(
        SELECT unnest(ARRAY[p.piece_from, p.piece_until]) FROM unnest(pieces) AS p
        UNION
        SELECT unnest(ARRAY[lower(u), upper(u)]) FROM unnest(unknown) AS u
        ORDER BY 1);
BEGIN
    RETURN QUERY
    WITH sums AS (
        SELECT p.number, r.camera_id, sum(p.samples) AS samples, min(p.least) AS occupied_min,
               max(p.most) AS occupied_max,
               sum(p.car_seconds + r.last_count * greatest(0, date_part('epoch',
                   least(r.next_at, edges[p.number + 1], now()) - greatest(r.last_at, edges[p.number])))) AS car_seconds
        FROM (
            SELECT r.*, width_bucket(r.first_at, edges) AS number,
                   width_bucket(r.next_at - interval '1 microsecond', edges) AS last_number
            FROM timeseries.group_rows(camera_ids, parts, edges, width, time_zone) AS r
        ) AS r
        CROSS JOIN LATERAL (
            SELECT r.number, r.samples, r.occupied_min AS least, r.occupied_max AS most, r.car_seconds
            UNION ALL
            SELECT n, 0, r.last_count, r.last_count, 0
            FROM generate_series(r.number + 1, r.last_number) AS n
            WHERE r.last_number > r.number
        ) AS p
        GROUP BY p.number, r.camera_id
    )
    SELECT edges[n], edges[n + 1], cardinality(camera_ids), coalesce(sum(s.samples), 0)::bigint,
           sum(s.occupied_min)::bigint, sum(s.occupied_max)::bigint, sum(s.car_seconds),
           CASE WHEN multirange_contains_elem(unknown, edges[n]) THEN 0
                ELSE greatest(0, date_part('epoch', least(edges[n + 1], now()) - edges[n])) END
    FROM generate_series(1, cardinality(edges) - 1) AS n
    LEFT JOIN sums AS s ON s.number = n
    WHERE multirange_contains_elem(parts, edges[n])
    GROUP BY n;
END
$$;

-- The sum of a group from moment to moment in [edges[1], range_end): a row where it may change, and at each edge, with how
-- many raw rows of members lie there. Besides raw rows the last counts of stored quarters are read, because they stand
-- after those whose raw rows are gone; so raw rows that are summarized need only be read in `quarters` (NULL: in all).
CREATE FUNCTION timeseries.group_sums(
    members timeseries.group_member[], edges timestamptz[], range_end timestamptz, quarters timestamptz[]
) RETURNS TABLE (at timestamptz, next_at timestamptz, occupied_count bigint, samples bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    marks          CONSTANT record := timeseries.watermarks('occupancy');
    quarters_until CONSTANT timestamptz := marks.quarters_until;
    raw_from       CONSTANT timestamptz := marks.raw_from;
    ids            CONSTANT uuid[] := ARRAY(SELECT DISTINCT m.camera_id FROM unnest(members) AS m);
    range_start    CONSTANT timestamptz := edges[1];
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
              AND (quarters IS NULL OR e."timestamp" >= raw_from
                   OR date_bin('15 minutes', e."timestamp", 'epoch') = ANY (quarters))
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
        SELECT e, 0, false FROM unnest(edges) AS e
    )
    SELECT c.at, lead(c.at) OVER in_time, sum(sum(c.change)) OVER in_time::bigint,
           count(*) FILTER (WHERE c.is_sample)
    FROM changes AS c
    GROUP BY c.at
    WINDOW in_time AS (ORDER BY c.at);
END
$$;

-- The least and the most of the sum in each of the pieces, which cover [range_start, range_end) without a gap, and how
-- many raw rows of members lie in it: where these are as many as its samples, all are there, and both are exact.
CREATE FUNCTION timeseries.group_extremes(
    members timeseries.group_member[], pieces timestamptz[], range_end timestamptz
) RETURNS TABLE (piece integer, occupied_min bigint, occupied_max bigint, samples bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    SELECT width_bucket(s.at, pieces), min(s.occupied_count) FILTER (WHERE s.at < least(range_end, now())),
           max(s.occupied_count) FILTER (WHERE s.at < least(range_end, now())), sum(s.samples)::bigint
    FROM timeseries.group_sums(members, pieces, range_end, NULL) AS s
    GROUP BY 1
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
    found      timeseries.group_piece[];
    partial    timeseries.group_piece[];
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
        found := ARRAY(
            SELECT p FROM timeseries.group_pieces(span.members, span.from_at, span.until_at, unit, zone) AS p);
        partial := ARRAY(SELECT p FROM unnest(found) AS p WHERE p.counted_seconds IS NULL);
        IF partial <> '{}' THEN
            found := ARRAY(
                SELECT p FROM unnest(found) AS p WHERE p.counted_seconds IS NOT NULL
                UNION ALL
                SELECT p FROM timeseries.group_cut(span.members, partial, unit, zone) AS p);
        END IF;
        pieces := pieces || found;
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
