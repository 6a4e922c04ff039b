-- Names that look like a dump's own words.
CREATE SCHEMA "; DROP TABLE x; --"; CREATE SCHEMA "a.b"; CREATE SCHEMA " "; CREATE SCHEMA "it's";
CREATE TABLE "a.b"."c" (x int); CREATE TABLE public."a.b.c" (x int); INSERT INTO "a.b".c VALUES (1); INSERT INTO public."a.b.c" VALUES (2),(3);
CREATE TABLE " "." " (" " int PRIMARY KEY, "%s" text, "{0}" int DEFAULT 5, "a,b" int, "(x)" int, "select" int, """q""" int, "tab	x" int, "\" int, "ctid " int, "a" int, "r" int, "number" int, "key" int); INSERT INTO " "." " VALUES (1,'x');
CREATE TABLE "; DROP TABLE x; --"."T; Type: TABLE; Schema: x; Owner: y" ("a;b" int); INSERT INTO "; DROP TABLE x; --"."T; Type: TABLE; Schema: x; Owner: y" VALUES (1);
CREATE TABLE "it's"."O'Brien" ("d'x" text DEFAULT 'a''b' CHECK ("d'x" <> ';')); INSERT INTO "it's"."O'Brien" VALUES ('c'); CREATE SEQUENCE "it's"."s'q"; SELECT setval('"it''s"."s''q"', 5);
CREATE TABLE "línea
nueva" ("col
umna" int); INSERT INTO "línea
nueva" VALUES (4);
CREATE TABLE "-- Name: x; Type: TABLE; Schema: y; Owner: z" (a int); INSERT INTO "-- Name: x; Type: TABLE; Schema: y; Owner: z" VALUES (1);
CREATE TABLE "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" ("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" serial PRIMARY KEY); INSERT INTO "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" DEFAULT VALUES;
CREATE FUNCTION "it's"."f; --"("a b" int, OUT "c;d" int) LANGUAGE sql AS 'SELECT 1'; CREATE TYPE "it's"."T y" AS ENUM ('a;', '''', '\'); CREATE INDEX "i x;" ON " "." " ("%s"); CREATE VIEW "it's"."v; y" AS SELECT * FROM " "." ";
CREATE TABLE padre ("b;" int); CREATE TABLE "hi jo" ("x""y" text) INHERITS (padre); ALTER TABLE padre ADD "tarde " text; INSERT INTO "hi jo" VALUES (1,'x','y');
CREATE TABLE "PG_x" (a int); CREATE TABLE "Ünï" (a int); CREATE TABLE pgdrill_restored_0 (a int); INSERT INTO pgdrill_restored_0 VALUES (1); CREATE TABLE "TABLE DATA" (a int); CREATE SCHEMA "-"; CREATE TABLE "-"."-" (a int); INSERT INTO "-"."-" VALUES (1);
CREATE ROLE "rol; Owner: x"; ALTER TABLE "Ünï" OWNER TO "rol; Owner: x"; CREATE ROLE "ro
l"; ALTER TABLE "PG_x" OWNER TO "ro
l"; CREATE ROLE "-"; ALTER TABLE "TABLE DATA" OWNER TO "-"; CREATE SCHEMA "pg drill"; CREATE TABLE "pg drill"."x: y" (a int); CREATE AGGREGATE "it's"."suma;"(int) (sfunc=int4pl, stype=int); SELECT lo_from_bytea(1,'x'); COMMENT ON LARGE OBJECT 1 IS '-- Name: x';
