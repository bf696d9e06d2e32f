-- From where the quarters of one family are refreshed: the UTC day of the newest that is materialized, but at least the
-- last whole day, so that the watermark ends at midnight. NULL, for all of time, where nothing is materialized.
SELECT least(date_trunc('day', max(bucket), 'UTC'), date_trunc('day', now(), 'UTC') - interval '24 hours')
FROM @relation
