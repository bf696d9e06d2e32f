-- The materializations as views of the schema, and their watermarks. Below its watermark a materialization is right,
-- because late events are materialized by the transaction that stores them. Answers read it and not the real-time
-- views, because planning those takes longer than the answer.

DO $$
DECLARE
    stored record;
BEGIN
    FOR stored IN
        SELECT m.relation, m.family || CASE m.level WHEN 'quarter_hourly' THEN '_stored_quarters'
                                                    WHEN 'hourly' THEN '_stored_hours'
                                                    WHEN 'weekday' THEN '_stored_days' END AS name
        FROM timeseries.materializations AS m
        WHERE m.family IS NOT NULL
    LOOP
        EXECUTE format('CREATE VIEW timeseries.%I AS SELECT * FROM %s', stored.name, stored.relation);
    END LOOP;
END
$$;

-- Planned once a session, though answers, which ask it, let every statement be planned anew.
CREATE FUNCTION timeseries.watermarks(
    family text, OUT days_until timestamptz, OUT hours_until timestamptz, OUT quarters_until timestamptz,
    OUT raw_from timestamptz
) LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    SELECT max(m.watermark) FILTER (WHERE m.level = 'weekday'), max(m.watermark) FILTER (WHERE m.level = 'hourly'),
           max(m.watermark) FILTER (WHERE m.level = 'quarter_hourly')
    INTO days_until, hours_until, quarters_until
    FROM timeseries.materializations AS m
    WHERE m.family = watermarks.family;
    raw_from := quarters_until;
END
$$;
