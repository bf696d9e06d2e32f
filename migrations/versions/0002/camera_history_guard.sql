-- Deletion of a camera is refused while it has history, because the foreign keys of raw rows know nothing of averages
-- whose raw rows are gone.
CREATE FUNCTION timeseries.guard_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.occupancy_weekday WHERE camera_id = OLD.id)
       OR EXISTS (SELECT FROM public.health_weekday WHERE camera_id = OLD.id) THEN
        RAISE EXCEPTION 'the camera has history' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER guard_history BEFORE DELETE ON public.cameras
    FOR EACH ROW EXECUTE FUNCTION timeseries.guard_history();
