-- The history before midnight UTC in steps of ten days, because one transaction of years would hold its locks too long.
SELECT step::text, least(step + interval '240 hours', date_trunc('day', now(), 'UTC'))::text
FROM generate_series((SELECT date_trunc('day', min(@moment), 'UTC') FROM @source),
                     date_trunc('day', now(), 'UTC') - interval '1 second', interval '240 hours') AS step
