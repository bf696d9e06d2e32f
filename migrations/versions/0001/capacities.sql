-- A camera's capacity over time: cameras.capacity is today's, and cameras.past_capacities has what it was before.

-- The spans of each camera in which its capacity is the same, without a gap from -infinity to infinity.
CREATE FUNCTION timeseries.capacity_spans(camera_ids uuid[])
RETURNS TABLE (camera_id uuid, start_at timestamptz, end_at timestamptz, capacity integer)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 AS $$
    SELECT c.id, lag(s.end_at, 1, '-infinity') OVER (PARTITION BY c.id ORDER BY s.end_at), s.end_at, s.capacity
    FROM public.cameras AS c
    CROSS JOIN LATERAL (
        SELECT p.until AS end_at, p.capacity
        FROM jsonb_to_recordset(c.past_capacities) AS p (until timestamptz, capacity integer)
        UNION ALL
        SELECT 'infinity', c.capacity
    ) AS s
    WHERE camera_ids IS NULL OR c.id = ANY (camera_ids)
$$;

-- What the two columns become when the capacity was `wanted` from `since` until its next change.
CREATE FUNCTION timeseries.capacity_since(
    INOUT capacity integer, INOUT past_capacities jsonb, wanted integer, since timestamptz
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH spans AS (
        SELECT lag(s.end_at, 1, '-infinity') OVER (ORDER BY s.end_at) AS start_at, s.end_at, s.capacity
        FROM (
            SELECT p.until AS end_at, p.capacity
            FROM jsonb_to_recordset(past_capacities) AS p (until timestamptz, capacity integer)
            UNION ALL
            SELECT 'infinity', capacity_since.capacity
        ) AS s
    ),
    changed AS (
        SELECT s.end_at, CASE WHEN since >= s.start_at AND since < s.end_at THEN wanted ELSE s.capacity END AS capacity
        FROM spans AS s
        UNION ALL
        SELECT since, s.capacity FROM spans AS s WHERE since > s.start_at AND since < s.end_at
    ),
    kept AS (
        SELECT c.end_at, c.capacity
        FROM (SELECT c.*, lead(c.capacity) OVER (ORDER BY c.end_at) AS next_capacity FROM changed AS c) AS c
        WHERE c.end_at = 'infinity' OR c.capacity IS DISTINCT FROM c.next_capacity
    )
    SELECT min(k.capacity) FILTER (WHERE k.end_at = 'infinity'),
           coalesce(jsonb_agg(jsonb_build_object(
               'until', to_char(k.end_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'capacity', k.capacity)
               ORDER BY k.end_at) FILTER (WHERE k.end_at < 'infinity'), '[]')
    FROM kept AS k
$$;
