-- Event triggers that keep a log: of what a restore does after they are made, and of our own queries.
CREATE TABLE bitacora (id serial PRIMARY KEY, cuando timestamptz DEFAULT now(), tag text);
CREATE TABLE padre (a int); CREATE TABLE hijo (b int) INHERITS (padre); ALTER TABLE padre ADD c text; INSERT INTO hijo VALUES (1,2,'x'),(3,4,'y');
CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.bitacora(tag) VALUES (tg_tag); END$$;
CREATE EVENT TRIGGER evt ON ddl_command_end EXECUTE FUNCTION et();
CREATE TABLE t (a int); CREATE MATERIALIZED VIEW mv AS SELECT 1 a; CREATE INDEX ON mv(a); CREATE MATERIALIZED VIEW "nueva
línea" AS SELECT 1 a;
ALTER TABLE t ADD b int; INSERT INTO t VALUES (1,2);
ALTER EVENT TRIGGER evt ENABLE ALWAYS;
CREATE FUNCTION prohibe() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no more tables'; END$$;
CREATE EVENT TRIGGER prohibe ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION prohibe();
ALTER EVENT TRIGGER prohibe ENABLE ALWAYS;
