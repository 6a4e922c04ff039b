-- A log of logins, in which each session of a drill would be a row.
CREATE TABLE entradas (id serial PRIMARY KEY, quien text);
CREATE FUNCTION entra() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.entradas (quien) VALUES (session_user); END$$;
CREATE EVENT TRIGGER entra ON login EXECUTE FUNCTION entra(); ALTER EVENT TRIGGER entra ENABLE ALWAYS;
