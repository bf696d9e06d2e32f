-- block: pieces
WITH scoped AS MATERIALIZED (SELECT s.* FROM unnest(scopes) AS s),
summaries AS (
    SELECT r.camera_id, s.hold, s.zone_number, r.samples, r.first_at, r.last_at, @stored_state AS state, @columns
    FROM timeseries.@{family}_stored_days AS r
    JOIN scoped AS s
        ON s.camera_id = r.camera_id AND s.level = 'day'
        AND r.first_at >= s.coarse_from AND r.first_at < s.coarse_until
    WHERE r.bucket > days[1] - interval '24 hours' AND r.bucket < days[2]
      AND (ids IS NULL OR r.camera_id = ANY (ids))
    UNION ALL
    SELECT r.camera_id, s.hold, s.zone_number, r.samples, r.first_at, r.last_at, @stored_state, @columns
    FROM timeseries.@{family}_stored_hours AS r
    JOIN scoped AS s
        ON s.camera_id = r.camera_id AND s.level = 'hour'
        AND r.first_at >= s.coarse_from AND r.first_at < s.coarse_until
    WHERE r.bucket > hours[1] - interval '1 hour' AND r.bucket < hours[2]
      AND (ids IS NULL OR r.camera_id = ANY (ids))
    UNION ALL
    SELECT r.camera_id, s.hold, s.zone_number, r.samples, r.first_at, r.last_at, @stored_state, @columns
    FROM timeseries.@{family}_stored_quarters AS r
    JOIN scoped AS s
        ON s.camera_id = r.camera_id AND r.bucket >= s.range_start AND r.bucket < s.coarse_from
    WHERE r.bucket >= from_at AND r.bucket < least(head_until, quarters_until)
      AND (ids IS NULL OR r.camera_id = ANY (ids))
    UNION ALL
    SELECT r.camera_id, s.hold, s.zone_number, r.samples, r.first_at, r.last_at, @stored_state, @columns
    FROM timeseries.@{family}_stored_quarters AS r
    JOIN scoped AS s ON s.camera_id = r.camera_id AND r.bucket >= s.coarse_until
    WHERE r.bucket >= tail_from AND r.bucket < least(until_at, quarters_until)
      AND (ids IS NULL OR r.camera_id = ANY (ids))
    UNION ALL
    SELECT e.camera_id, s.hold, s.zone_number, 1, e."timestamp", e."timestamp", @event_state, @of_event
    FROM public.@events AS e
    JOIN scoped AS s
        ON s.camera_id = e.camera_id AND e."timestamp" >= s.range_start
        AND (e."timestamp" < s.coarse_from OR e."timestamp" >= s.coarse_until)
    WHERE e."timestamp" >= greatest(raw_from, from_at) AND e."timestamp" < until_at
      AND (ids IS NULL OR e.camera_id = ANY (ids))
    UNION ALL
    -- Where the range begins, with what was observed before it and still stands.
    SELECT s.camera_id, s.hold, s.zone_number, NULL, '-infinity', carried.last_at, carried.state, @unknown
    FROM scoped AS s
    LEFT JOIN LATERAL (
        (
            SELECT r.last_at, @stored_state AS state
            FROM timeseries.@{family}_stored_quarters AS r
            WHERE r.camera_id = s.camera_id
              AND r.bucket >= s.range_start - s.hold - interval '15 minutes'
              AND r.bucket >= carry_from AND r.bucket < least(asked_from, quarters_until)
            ORDER BY r.bucket DESC
            LIMIT 1
        )
        UNION ALL
        (
            SELECT e."timestamp", @event_state
            FROM public.@events AS e
            WHERE e.camera_id = s.camera_id
              AND e."timestamp" >= s.range_start - s.hold
              AND e."timestamp" >= greatest(carry_from, raw_from) AND e."timestamp" < asked_from
            ORDER BY e."timestamp" DESC
            LIMIT 1
        )
        ORDER BY last_at DESC
        LIMIT 1
    ) AS carried ON true
    WHERE asked_from IS NOT NULL
),
ordered AS (
    SELECT r.*, lag(r.last_at) OVER in_time AS carried_at, lag(r.state) OVER in_time AS carried_state,
           lead(r.first_at, 1, until_at) OVER in_time AS next_at
    FROM summaries AS r
    WINDOW in_time AS (PARTITION BY r.camera_id ORDER BY r.first_at)
),
placed AS (
    SELECT o.*, z.edges, z.buckets, z.local_starts, z.labels, z.spans,
           CASE WHEN o.samples IS NULL THEN 0 ELSE width_bucket(o.first_at, z.edges) END AS number
    FROM ordered AS o
    JOIN unnest(zones) WITH ORDINALITY AS z (zone, edges, buckets, local_starts, labels, spans, number)
        ON z.number = o.zone_number
    OFFSET 0  -- because the planner would find the number again for each use of it
),
-- The times that stand around each summary in its bucket.
timed AS MATERIALIZED (
    SELECT p.camera_id, p.hold, p.zone_number, p.number, p.buckets[p.number] AS bucket,
           p.local_starts[p.number] AS local_start, p.labels[p.number] AS label, p.samples, p.last_at, p.next_at, p.state,
           p.carried_state, @columns,
           p.carried_at >= p.edges[p.number] IS NOT TRUE AS is_first,
           p.next_at >= p.edges[p.number + 1] AS is_last,
           p.next_at >= p.edges[p.number + 2] AS before_gap,
           CASE WHEN p.carried_at < p.edges[p.number] THEN greatest(0, date_part('epoch',
               least(p.first_at, p.carried_at + p.hold, now()) - p.edges[p.number])) ELSE 0 END AS carried,
           greatest(0, date_part('epoch', least(p.next_at, p.edges[p.number + 1], p.last_at + p.hold, now())
                                          - p.last_at)) AS stood,
           CASE WHEN p.carried_at >= p.edges[p.number] THEN 0
                WHEN asked_from IS NOT NULL OR p.carried_at IS NOT NULL THEN p.spans[p.number]
                ELSE date_part('epoch', p.edges[p.number + 1] - date_bin('15 minutes', p.first_at, epoch))
                END AS span_seconds
    FROM placed AS p
),
gaps AS (
    SELECT t.camera_id, z.buckets[n] AS bucket, z.local_starts[n] AS local_start, z.labels[n] AS label,
           t.state AS carried_state,
           CASE WHEN t.state IS NULL THEN 0 ELSE greatest(0, date_part('epoch',
               least(z.edges[n + 1], t.last_at + t.hold, now()) - z.edges[n])) END AS carried,
           z.spans[n] AS span_seconds
    FROM timed AS t
    JOIN unnest(zones) WITH ORDINALITY AS z (zone, edges, buckets, local_starts, labels, spans, number)
        ON z.number = t.zone_number
    CROSS JOIN LATERAL generate_series(t.number + 1, width_bucket(t.next_at, z.edges) - 1) AS n
    WHERE t.before_gap
)
