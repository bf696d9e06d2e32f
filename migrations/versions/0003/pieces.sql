-- block: pieces
WITH timed AS (
    -- The times that stand around each summary in its bucket.
    SELECT s.camera_id, s.hold, z.edges, z.buckets, z.local_starts, z.labels, z.spans, z.unknown,
           o.number, o.samples, o.last_at,
           o.next_at, o.state, o.carried_state, @columns,
           o.carried_at >= z.edges[o.number] IS NOT TRUE AS is_first,
           o.next_at >= z.edges[o.number + 1] AS is_last,
           o.next_at >= z.edges[o.number + 2] AS before_gap,
           CASE WHEN o.carried_at < z.edges[o.number] THEN greatest(0, date_part('epoch',
               least(o.first_at, o.carried_at + s.hold, now_at) - z.edges[o.number])) ELSE 0 END AS carried,
           greatest(0, date_part('epoch', least(o.next_at, z.edges[o.number + 1], o.last_at + s.hold, now_at)
                                          - o.last_at)) AS stood,
           CASE WHEN o.carried_at >= z.edges[o.number] THEN 0
                WHEN asked_from IS NOT NULL OR o.before_at IS NOT NULL THEN z.spans[o.number]
                ELSE date_part('epoch', z.edges[o.number + 1] - date_bin('15 minutes', o.first_at, epoch))
                END AS span_seconds
    FROM unnest(scopes) AS s
    JOIN unnest(zones) WITH ORDINALITY AS z (zone, cut, edges, buckets, local_starts, labels, spans, unknown, number)
        ON z.number = s.zone_number
    CROSS JOIN LATERAL (
        SELECT r.*, width_bucket(r.first_at, z.edges) - (r.samples IS NULL AND isfinite(r.first_at))::integer AS number,
               lag(r.first_at) OVER in_time AS before_at, lag(r.last_at) OVER in_time AS carried_at,
               lag(r.state) OVER in_time AS carried_state, lead(r.first_at, 1, until_at) OVER in_time AS next_at
        FROM (
            SELECT r.samples, r.first_at, r.last_at, @stored_state AS state, @columns
            FROM timeseries.@{family}_stored_days AS r
            WHERE s.level = 'day' AND r.camera_id = s.camera_id
              AND r.first_at >= s.coarse_from AND r.first_at < s.coarse_until
              AND r.bucket > days[1] - interval '24 hours' AND r.bucket < days[2]
            UNION ALL
            SELECT r.samples, r.first_at, r.last_at, @stored_state, @columns
            FROM timeseries.@{family}_stored_hours AS r
            WHERE s.level = 'hour' AND r.camera_id = s.camera_id
              AND r.first_at >= s.coarse_from AND r.first_at < s.coarse_until
              AND r.bucket > hours[1] - interval '1 hour' AND r.bucket < hours[2]
            UNION ALL
            SELECT r.samples, r.first_at, r.last_at, @stored_state, @columns
            FROM timeseries.@{family}_stored_quarters AS r
            WHERE r.camera_id = s.camera_id AND r.bucket >= s.range_start AND r.bucket < s.coarse_from
              AND r.bucket >= from_at AND r.bucket < least(head_until, quarters_until)
            UNION ALL
            SELECT r.samples, r.first_at, r.last_at, @stored_state, @columns
            FROM timeseries.@{family}_stored_quarters AS r
            WHERE r.camera_id = s.camera_id AND r.bucket >= s.coarse_until
              AND r.bucket >= tail_from AND r.bucket < least(until_at, quarters_until)
            UNION ALL
            SELECT 1, e."timestamp", e."timestamp", @event_state, @of_event
            FROM public.@events AS e
            WHERE e.camera_id = s.camera_id AND e."timestamp" >= s.range_start
              AND (e."timestamp" < s.coarse_from OR e."timestamp" >= s.coarse_until)
              AND e."timestamp" >= greatest(raw_from, from_at) AND e."timestamp" < until_at
            UNION ALL
            -- Where the range begins, with what was observed before it and still stands.
            SELECT NULL, '-infinity', carried.last_at, carried.state, @unknown
            FROM (SELECT WHERE asked_from IS NOT NULL) AS begin
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
            ) AS carried ON NOT has_cuts OR s.cut IS NULL OR NOT EXISTS (
                SELECT FROM unnest(left_out) AS l
                WHERE l.camera_id = s.camera_id AND l.is_unknown AND l.end_at > carried.last_at
                  AND l.start_at < asked_from
            )
            UNION ALL
            -- Where what is unknown begins, as the end of the bucket before it.
            SELECT NULL, z.edges[n], NULL, NULL, @unknown
            FROM generate_subscripts(z.unknown, 1) AS n
            WHERE has_cuts AND z.unknown[n] AND z.unknown[n - 1] IS NOT TRUE
        ) AS r
        WHERE NOT has_cuts OR (z.unknown[width_bucket(r.first_at, z.edges)] AND r.samples IS NOT NULL) IS NOT TRUE
        WINDOW in_time AS (ORDER BY r.first_at)
    ) AS o
    OFFSET 0  -- because the planner would compute the times again for each use of them
),
pieces AS (
    SELECT t.camera_id, t.buckets[p.number] AS bucket, t.local_starts[p.number] AS local_start,
           t.labels[p.number] AS label, p.*
    FROM timed AS t
    CROSS JOIN LATERAL (
        SELECT t.number, t.is_first AND t.is_last AND t.unknown IS NULL AS is_whole, t.samples, @amounts, t.span_seconds
        WHERE t.samples IS NOT NULL
        UNION ALL
        SELECT t.number, t.unknown IS NULL, 0, @carried_amounts, t.span_seconds
        FROM (
            SELECT n AS number, t.unknown, t.state AS carried_state, t.spans[n] AS span_seconds,
                   CASE WHEN t.state IS NULL THEN 0 ELSE greatest(0, date_part('epoch',
                       least(t.edges[n + 1], t.last_at + t.hold, now_at) - t.edges[n])) END AS carried
            FROM generate_series(t.number + 1, width_bucket(t.next_at, t.edges) - 1) AS n
            WHERE t.before_gap
        ) AS t
    ) AS p
)
