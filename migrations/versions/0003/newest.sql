SELECT n.at, n.@event_column
        FROM (
            (
                SELECT e."timestamp" AS at, e.@event_column
                FROM public.@events AS e
                WHERE e.camera_id = c.id AND e."timestamp" >= @{family}_from
                ORDER BY e."timestamp" DESC
                LIMIT 1
            )
            UNION ALL
            (
                SELECT r.last_at, r.@stored_column
                FROM timeseries.@{family}_stored_quarters AS r
                WHERE r.camera_id = c.id AND r.bucket >= @{family}_days
                  AND r.bucket < @{family}_marks.quarters_until
                ORDER BY r.bucket DESC
                LIMIT 1
            )
            UNION ALL
            (
                SELECT r.last_at, r.@stored_column
                FROM timeseries.@{family}_stored_days AS r
                WHERE r.camera_id = c.id AND r.bucket < @{family}_days
                ORDER BY r.bucket DESC, r.last_at DESC
                LIMIT 1
            )
        ) AS n
        ORDER BY n.at DESC
        LIMIT 1
