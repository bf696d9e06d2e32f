-- The spans of cameras that do not count in the answers of a family, as far as they matter to a range: of occupancy what
-- is closed, and unknown what is wrong; of health maintenance, be it a period or the camera's desired state, whose time
-- is shortened to whole quarters of an hour. One that ended before the range matters for a hold, because what was observed
-- in it, or before it, does not stand after it. Where is_unknown is NULL a span leaves nothing out and only cuts.
CREATE TYPE timeseries.left_out AS (
    camera_id  uuid,
    start_at   timestamptz,
    end_at     timestamptz,
    is_unknown boolean
);

-- Most stores have no such span, and whether there is one is found without a plan of the joins.
CREATE FUNCTION timeseries.left_out(
    family text, camera_ids uuid[], range_start timestamptz, range_end timestamptz
) RETURNS SETOF timeseries.left_out LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM timeseries.periods)
        AND NOT (family = 'health' AND EXISTS (
            SELECT FROM timeseries.camera_versions AS v WHERE v.desired_state = 'maintenance'))
    THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.id, s.start_at, s.end_at, s.is_unknown
    FROM (
        SELECT p.camera_id, p.start_at, coalesce(p.end_at, 'infinity') AS end_at, p.kind = 'wrong' AS is_unknown
        FROM timeseries.periods AS p
        WHERE p.kind = ANY (CASE family WHEN 'occupancy' THEN ARRAY['wrong', 'closed'] ELSE ARRAY['maintenance'] END)
        UNION ALL
        SELECT m.camera_id, date_bin('15 minutes', m.changed_at + interval '899.999999 seconds', 'epoch'),
               CASE WHEN isfinite(m.until) THEN date_bin('15 minutes', m.until, 'epoch') ELSE m.until END, false
        FROM (
            SELECT v.camera_id, v.changed_at, v.desired_state,
                   lead(v.changed_at, 1, 'infinity') OVER (PARTITION BY v.camera_id ORDER BY v.revision) AS until
            FROM timeseries.camera_versions AS v
            WHERE family = 'health' AND (camera_ids IS NULL OR v.camera_id = ANY (camera_ids))
        ) AS m
        WHERE m.desired_state = 'maintenance'
    ) AS s
    JOIN public.cameras AS c ON c.id = s.camera_id
    WHERE (camera_ids IS NULL OR c.id = ANY (camera_ids))
      AND s.start_at < range_end AND s.end_at > s.start_at
      AND (range_start IS NULL OR s.end_at > range_start - make_interval(secs => date_part('epoch', c.hold)));
END
$$;

-- The pieces of bucket_pieces for one camera, also cut where its spans begin and end. What is left out has an infinite
-- bucket, as what is not in the calendar has. PL/pgSQL, because a function in SQL would be planned into every answer.
CREATE FUNCTION timeseries.cut_pieces(
    camera_id uuid, spans timeseries.left_out[], range_start timestamptz, range_end timestamptz, width text,
    time_zone text, calendar timeseries.calendar
) RETURNS TABLE (
    edge timestamptz, edge_end timestamptz, bucket timestamptz, local_start timestamp, is_unknown boolean
) LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.edge, p.edge_end, CASE WHEN k.is_left_out THEN 'infinity' ELSE p.bucket END,
           CASE WHEN k.is_left_out THEN 'infinity' ELSE p.local_start END, k.is_unknown
    FROM (
        SELECT c.edge, lead(c.edge, 1, b.edge_end) OVER (PARTITION BY b.edge ORDER BY c.edge) AS edge_end, b.bucket,
               b.local_start
        FROM timeseries.bucket_pieces($3, $4, $5, $6, $7) AS b
        CROSS JOIN LATERAL (
            SELECT b.edge
            UNION
            SELECT e.at
            FROM unnest($2) AS s
            CROSS JOIN LATERAL (VALUES (s.start_at), (s.end_at)) AS e (at)
            WHERE s.camera_id = $1 AND e.at > b.edge AND e.at < b.edge_end
        ) AS c
    ) AS p
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(NOT s.is_unknown), false) AS is_left_out,
               coalesce(bool_or(s.is_unknown), false) AS is_unknown
        FROM unnest($2) AS s
        WHERE s.camera_id = $1 AND s.start_at <= p.edge AND s.end_at >= p.edge_end
    ) AS k
    WHERE p.edge_end > $3 AND p.edge < $4;
END
$$;
