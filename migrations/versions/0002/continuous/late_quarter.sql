-- One quarter of one camera, below the watermark of the quarters together with the whole hour or day that is materialized,
-- in each level whose watermark is above it. Returns by how many samples the quarter grew.
--
-- Late events come one by one, and to plan the queries of the aggregates takes longer than to run them. So the rows of the
-- few chunks are read by short queries, planned each time for their time, and what is computed of them has a generic plan,
-- which reads no hypertable: one that does would lock every chunk.
CREATE FUNCTION timeseries.materialize_@{family}_quarter(
    late_camera uuid, late_quarter timestamptz, hours_below timestamptz, days_below timestamptz
) RETURNS integer LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_nestloop = on AS $$
DECLARE
    late_hour timestamptz := date_bin('1 hour', late_quarter, 'epoch');
    late_day timestamptz := date_bin('1 day', late_quarter, 'epoch');
    late_rows public.@events[];
    late_quarters @quarters[];
    quarters_of_day @quarters[];
    samples_before integer;
BEGIN
    EXECUTE 'SELECT array_agg(e) FROM public.@events AS e
             WHERE e.camera_id = $1 AND e."timestamp" >= $2 AND e."timestamp" < $2 + interval ''15 minutes'''
    INTO late_rows USING late_camera, late_quarter;
    EXECUTE 'DELETE FROM @quarters WHERE camera_id = $1 AND bucket = $2 RETURNING samples'
    INTO samples_before USING late_camera, late_quarter;
    INSERT INTO @quarters
    @quarter_query;

    EXECUTE 'SELECT array_agg(q) FROM @quarters AS q
             WHERE q.camera_id = $1 AND q.bucket >= $2 AND q.bucket < $2 + interval ''24 hours'''
    INTO quarters_of_day USING late_camera, late_day;
    IF late_hour < hours_below THEN
        late_quarters := ARRAY(SELECT q FROM unnest(quarters_of_day) AS q
                               WHERE q.bucket >= late_hour AND q.bucket < late_hour + interval '1 hour');
        EXECUTE 'DELETE FROM @hours WHERE camera_id = $1 AND bucket = $2' USING late_camera, late_hour;
        INSERT INTO @hours
        @hour_query;
    END IF;
    IF late_day < days_below THEN
        late_quarters := quarters_of_day;
        EXECUTE 'DELETE FROM @days WHERE camera_id = $1 AND bucket = $2' USING late_camera, late_day;
        INSERT INTO @days
        @day_query;
    END IF;
    RETURN coalesce(cardinality(late_rows), 0) - coalesce(samples_before, 0);
END
$$
