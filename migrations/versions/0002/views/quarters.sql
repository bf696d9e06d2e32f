-- The quarters of one family: those whose raw rows were pruned are in a table, all others are computed, never both.
CREATE INDEX ix_@{events}_quarter ON public.@events
    (camera_id, date_bin(interval '15 minutes', "timestamp", timestamptz 'epoch'));
CREATE INDEX ix_@{events}_time ON public.@events
    USING brin ("timestamp", date_bin(interval '15 minutes', "timestamp", timestamptz 'epoch'));
CREATE VIEW timeseries.@{family}_live AS @query;
CREATE TABLE timeseries.@{family}_kept (LIKE timeseries.@{family}_live);
ALTER TABLE timeseries.@{family}_kept ADD CONSTRAINT pk_@{family}_kept PRIMARY KEY (camera_id, bucket);
CREATE VIEW public.@{family}_quarter_hourly AS
    SELECT * FROM timeseries.@{family}_kept UNION ALL SELECT * FROM timeseries.@{family}_live;
