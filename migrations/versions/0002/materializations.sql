-- What each continuous aggregate has materialized, on every kind of server; no row where the aggregates are views.
--   name, family, level, bucket   of one of the six aggregates; an operator's own aggregate has its name only
--   view_schema                   where the aggregate itself is
--   relation                      the hypertable that keeps it, also as hypertable_schema and hypertable_name, as the
--                                 views of timescaledb_information name it
--   definition                    the view that computes it, which a refresh reads
--   watermark                     up to here it is materialized
CREATE VIEW timeseries.materializations AS
SELECT c.view_name AS name, w.family, w.level, w.bucket, c.view_schema,
       format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass AS relation,
       format('%I.%I', c.definition_schema, c.definition_name)::regclass AS definition,
       c.watermark, c.hypertable_schema, c.hypertable_name
FROM timeseries.read_catalog() AS c
LEFT JOIN (
    VALUES ('occupancy_quarter_hourly', 'occupancy', 'quarter_hourly', interval '15 minutes'),
           ('occupancy_hourly', 'occupancy', 'hourly', interval '1 hour'),
           ('occupancy_weekday', 'occupancy', 'weekday', interval '24 hours'),
           ('health_quarter_hourly', 'health', 'quarter_hourly', interval '15 minutes'),
           ('health_hourly', 'health', 'hourly', interval '1 hour'),
           ('health_weekday', 'health', 'weekday', interval '24 hours')
) AS w (name, family, level, bucket) ON w.name = c.view_name AND c.view_schema = 'public';

-- The catalog behind it may be read by everybody as well.
GRANT SELECT ON timeseries.materializations TO PUBLIC;
