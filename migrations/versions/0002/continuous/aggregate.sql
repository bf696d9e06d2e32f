-- Chunks are wide, because the aggregates are kept for good and asked for by years: the planner opens every chunk of a
-- range.
CREATE MATERIALIZED VIEW public.@name
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.chunk_interval = '@chunk') AS
@query
WITH NO DATA
