-- One quarter of one camera, below the watermark of the quarters together with the whole hour or day that is materialized,
-- in each level whose watermark is above it. Returns by how many samples the quarter grew.
--
-- Late events come one by one, and to plan the queries of the aggregates takes longer than to run them. So the rows of the
-- few chunks are read and deleted by short statements with a custom plan, for their time, and what is computed of them has
-- a generic plan, which reads no hypertable: one that does would lock every chunk.
CREATE FUNCTION timeseries.materialize_@{family}_quarter(
    late_camera uuid, late_quarter timestamptz, hours_below timestamptz, days_below timestamptz
) RETURNS integer LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET enable_nestloop = on AS $$
DECLARE
    late_hour CONSTANT timestamptz := date_bin('1 hour', late_quarter, 'epoch');
    late_day CONSTANT timestamptz := date_bin('1 day', late_quarter, 'epoch');
    late_rows public.@events[];
    late_quarters @quarters[];
    quarters_of_day @quarters[];
    samples_before integer;
BEGIN
    SELECT array_agg(e) INTO late_rows FROM public.@events AS e
    WHERE e.camera_id = late_camera
      AND e."timestamp" >= late_quarter AND e."timestamp" < late_quarter + interval '15 minutes';
    DELETE FROM @quarters WHERE camera_id = late_camera AND bucket = late_quarter RETURNING samples INTO samples_before;
    PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
    INSERT INTO @quarters
    @quarter_query;

    PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
    SELECT array_agg(q) INTO quarters_of_day FROM @quarters AS q
    WHERE q.camera_id = late_camera AND q.bucket >= late_day AND q.bucket < late_day + interval '24 hours';
    IF late_hour < hours_below THEN
        DELETE FROM @hours WHERE camera_id = late_camera AND bucket = late_hour;
    END IF;
    IF late_day < days_below THEN
        DELETE FROM @days WHERE camera_id = late_camera AND bucket = late_day;
    END IF;
    PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
    IF late_hour < hours_below THEN
        late_quarters := ARRAY(SELECT q FROM unnest(quarters_of_day) AS q
                               WHERE q.bucket >= late_hour AND q.bucket < late_hour + interval '1 hour');
        INSERT INTO @hours
        @hour_query;
    END IF;
    IF late_day < days_below THEN
        late_quarters := quarters_of_day;
        INSERT INTO @days
        @day_query;
    END IF;
    RETURN coalesce(cardinality(late_rows), 0) - coalesce(samples_before, 0);
END
$$
