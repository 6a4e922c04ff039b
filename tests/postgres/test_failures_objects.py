"""Any one object lost or altered is found and named: by whoever changes the archive, and by a pg_dump that lies.

Many independent faults are put into one archive, and each must have its own finding: a fault that is named among
others is named alone as well. Each archive's manifest has the digest of the altered bytes, so that SHA-256 says
nothing; of a pg_dump that lies the manifest's inventory is the altered one, too, and what is left to tell is
the catalog that was asked in the snapshot.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from drilling import Alter, DrillOf, execute, reseal, rewrite, swap, together, told, without_entry

from backup_lib.backup import make_backup
from backup_lib.manifest import SUFFIX
from backup_lib.servers import Server
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

OBJECTS = Path(__file__).with_name("spoiled_objects.sql").read_bytes()
ROLES = ("dueña", "lectora")


class Fault(NamedTuple):
    alter: Alter
    subject: str  # stands in the finding's object
    word: str = ""  # stands in what it expected or found


def lost(header: str, subject: str, word: str = "") -> Fault:
    return Fault(without_entry(header), subject, word)


def altered(old: str, new: str, subject: str, word: str = "") -> Fault:
    return Fault(swap(old, new), subject, word)


# Each dictionary is one archive; a name stands once in each.
ALTERED: tuple[dict[str, Fault], ...] = (
    {
        "index-order": altered("(upper(nota) DESC)", "(upper(nota))", "por_nota"),
        "index-condition": altered(" WHERE (nota <> 'n1'::text)", "", "por_dia"),
        "index-unique": altered("CREATE UNIQUE INDEX en_resumen", "CREATE INDEX en_resumen", "en_resumen"),
        "key-action": altered(" ON DELETE CASCADE", "", "de_articulo"),
        "exclusion": altered("WITH &&)", "WITH ~=)", "sin_solape"),
        "check": altered("< (100000)", "< (900000)", "articulo_precio_check"),
        "domain-check": altered("(VALUE >= (0)", "(VALUE > (0)", "no_negativo"),
        "enum-label-lost": altered("'usado',\n    'roto'", "'usado'", "estado"),
        "partition-bound": altered("TO ('2026-01-01')", "TO ('2027-01-01')", "medicion_2025"),
        "inheritance": altered("    b integer\n)\nINHERITS (tienda.base)", "    b integer, a integer, c text\n)", "derivada"),
        "trigger-condition": altered("old.nota <> ''", "old.nota <> 'x'", "avisa"),
        "trigger-enabled": altered("ALTER TABLE tienda.venta DISABLE TRIGGER apagado;\n", "", "apagado"),
        "rule": altered("ON DELETE TO tienda.venta", "ON UPDATE TO tienda.venta", "no_borra"),
        "view": altered("> (10)::numeric", "> (11)::numeric", "caros"),
        "function-body": altered("SELECT n * 2", "SELECT n * 3", "doble"),
        "function-of-standard-sql": altered("RETURN (n + 1)", "RETURN (n + 2)", "suma_uno"),
        "policy": altered("USING ((id > 0))", "USING ((id > 1))", "solo_suyas"),
        "grant": altered("GRANT SELECT,UPDATE ON TABLE", "GRANT SELECT ON TABLE", "articulo", "privileges: "),
    },
    {
        "not-null": altered("'sin nombre'::text NOT NULL", "'sin nombre'::text", "articulo", "nombre text NOT NULL"),
        "forced-row-security": altered("ALTER TABLE ONLY tienda.venta FORCE ROW LEVEL SECURITY;\n", "", "venta", "FORCED"),
        "owner": altered("TABLE tienda.suelta OWNER TO postgres", "TABLE tienda.suelta OWNER TO lectora", "suelta", "lectora"),
        "comment": altered("'lo de la tienda'", "'otra cosa'", "schema tienda", "comment"),
        "sequence-step": altered("INCREMENT BY 5", "INCREMENT BY 6", "folio"),
        "statistics": altered("ON articulo, dia FROM", "ON articulo, id FROM", "juntas"),
        "publication": altered("publish = 'insert'", "publish = 'insert, delete'", "avisos"),
        "event-trigger": altered("TAG IN ('CREATE CAST')", "TAG IN ('CREATE VIEW')", "vigila"),
        "cast": altered("AS ASSIGNMENT", "AS IMPLICIT", "tienda.medida AS"),
        "operator": altered("RESTRICT = eqsel", "RESTRICT = neqsel", "==="),
        "operator-class": altered("OPERATOR 2 <=(integer,integer) ,\n", "", "orden"),
        "text-search-configuration": altered("email WITH simple", "email WITH english_stem", "busca"),
        "text-search-dictionary": altered("stopwords = 'spanish'", "stopwords = 'english'", "palabras"),
        "foreign-table": altered("t 'x'", "t 'y'", "ajena"),
        "server": altered("host 'h'", "host 'i'", "remoto"),
        "composite-type": altered("ancho integer", "ancho bigint", "medida"),
        "range-type": altered("subtype = integer", "subtype = bigint", "tramo"),
        "aggregate": altered("INITCOND = '0'", "INITCOND = '5'", "total"),
        "procedure": altered("$$SELECT 1$$", "$$SELECT 2$$", "nada"),
        "unlogged": altered("CREATE UNLOGGED TABLE", "CREATE TABLE", "pasajera"),
        "materialized-view": altered("count(*) AS n", "sum(1) AS n", "resumen"),
        "default-privileges": altered("GRANT SELECT ON TABLES", "GRANT INSERT ON TABLES", "default acl"),
    },
    {
        "default": altered("DEFAULT now()", "DEFAULT clock_timestamp()", "articulo", "alta"),
        "default-lost": altered(" DEFAULT 'nuevo'::tienda.estado", "", "articulo", "estado"),
        "generated": altered("* 0.84", "* 0.86", "articulo", "neto"),
        "identity": altered("ADD GENERATED BY DEFAULT AS", "ADD GENERATED ALWAYS AS", "articulo", "1 id integer"),
        "column-type": altered("marca character varying(20)", "marca character varying(30)", "articulo", "marca"),
        "collation-of-a-column": altered("nota text COLLATE tienda.simple", "nota text", "venta", "nota"),
        "domain-default": altered("numeric(9,2) DEFAULT 1", "numeric(9,2) DEFAULT 2", "precio", "DEFAULT 2"),
        "enum-order": altered("'nuevo',\n    'usado'", "'usado',\n    'nuevo'", "estado"),
        "view-option": altered(" WITH (security_barrier='true')", "", "caros", "security_barrier"),
        "function-security": altered("IMMUTABLE SECURITY DEFINER", "IMMUTABLE", "doble", "DEFINER"),
        "function-setting": altered("work_mem TO '4MB'", "work_mem TO '5MB'", "doble", "5MB"),
        "policy-role": altered("FOR SELECT TO lectora USING", "FOR SELECT USING", "solo_suyas"),
        "owner-of-a-schema": altered('SCHEMA tienda OWNER TO "dueña"', "SCHEMA tienda OWNER TO lectora", "tienda", "lectora"),
    },
    {
        "column-order": altered("a integer,\n    b text\n", "b text,\n    a integer\n", "suelta"),
        "storage-option": altered("fillfactor='90'", "fillfactor='70'", "articulo", "fillfactor=70"),
        "replica-identity": altered("ALTER TABLE ONLY tienda.articulo REPLICA IDENTITY FULL;\n", "", "articulo", "replica identity"),
        "column-statistics": altered("SET STATISTICS 500", "SET STATISTICS 400", "articulo", "2 nombre"),
    },
)  # fmt: skip
LOST: tuple[dict[str, Fault], ...] = (
    {
        "index": lost("Name: por_dia; Type: INDEX", "por_dia"),
        "unique-key": lost("Name: articulo nombre_unico; Type: CONSTRAINT", "nombre_unico"),
        "foreign-key": lost("Name: venta de_articulo; Type: FK", "de_articulo"),
        "primary-key": lost("Name: tipos tipos_pkey; Type: CONSTRAINT", "tipos_pkey"),
        "exclusion": lost("Name: venta sin_solape; Type: CONSTRAINT", "sin_solape"),
        "trigger": lost("Name: venta avisa; Type: TRIGGER", "avisa"),
        "rule": lost("Name: venta no_borra; Type: RULE", "no_borra"),
        "policy": lost("Name: venta solo_suyas; Type: POLICY", "solo_suyas"),
        "row-security": lost("Name: venta; Type: ROW SECURITY", "venta", "row security: ENABLED"),
        "view": lost("Name: caros; Type: VIEW", "caros"),
        "statistics": lost("Name: juntas; Type: STATISTICS", "juntas"),
        "published-table": lost("Name: avisos venta; Type: PUBLICATION TABLE", "avisos"),
        "event-trigger": lost("Name: vigila; Type: EVENT TRIGGER", "vigila"),
        "cast": lost("Name: CAST (tienda.medida AS text); Type: CAST", "tienda.medida AS"),
        "operator": lost("Name: ===; Type: OPERATOR", "==="),
        "operator-class": lost("Name: orden; Type: OPERATOR CLASS", "orden"),
        "conversion": lost("Name: conv; Type: CONVERSION", "conv"),
        "text-search-configuration": lost("Name: busca; Type: TEXT SEARCH", "busca"),
        "text-search-dictionary": lost("Name: palabras; Type: TEXT SEARCH", "palabras"),
        "user-mapping": lost("Name: USER MAPPING public SERVER remoto; Type: USER MAPPING", "remoto"),
    },
    {
        "foreign-table": lost("Name: ajena; Type: FOREIGN TABLE", "ajena"),
        "comment": lost("Name: TABLE articulo; Type: COMMENT", "table tienda.articulo", "comment: "),
        "comment-on-a-column": lost("Name: COLUMN articulo.marca; Type: COMMENT", "articulo", "column marca"),
        "grant": lost("Name: TABLE articulo; Type: ACL", "articulo", "privileges: "),
        "grant-on-a-column": lost("Name: COLUMN articulo.nombre; Type: ACL", "articulo", "column nombre"),
        "grant-on-a-schema": lost("Name: SCHEMA tienda; Type: ACL", "schema tienda", "privileges: "),
        "default-privileges": lost("Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL", "default acl"),
        "function": lost("Name: doble(integer); Type: FUNCTION", "doble"),
        "procedure": lost("Name: nada(); Type: PROCEDURE", "nada"),
        "aggregate": lost("Name: total(integer); Type: AGGREGATE", "total"),
        "type": lost("Name: tramo; Type: TYPE", "tramo"),
        "unlogged-table": Fault(
            lambda text: without_entry("Data for Name: pasajera")(without_entry("Name: pasajera; Type: TABLE")(text)),
            "pasajera",
        ),
        "partition-detached": lost("Name: medicion_2025; Type: TABLE ATTACH", "medicion_2025", "partition: "),
        "sequence-value": lost("Name: folio; Type: SEQUENCE SET", "folio"),
        "identity": lost("Name: articulo_id_seq; Type: SEQUENCE;", "table tienda.articulo", "1 id integer"),
        "index-of-a-view": lost("Name: en_resumen; Type: INDEX", "en_resumen"),
        "publication": Fault(
            lambda text: without_entry("Name: avisos; Type: PUBL")(without_entry("Name: avisos venta;")(text)), "avisos"
        ),
        "refresh": lost("Name: resumen; Type: MATERIALIZED VIEW DATA", "resumen", "populated"),
    },
)  # fmt: skip
# A pg_dump could write other bytes and their digests: only a second reading of all large objects would tell.
TAMPERED: dict[str, Fault] = {
    "large-object": altered("756e20646f", "756e20656f", "4242"),
    "comment-on-a-large-object": lost("Name: LARGE OBJECT 4242; Type: COMMENT", "4242"),
    "sequence-value": altered("'tienda.folio', 250, true", "'tienda.folio', 245, true", "folio"),
    "extension": altered("CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public", "CREATE EXTENSION hstore WITH SCHEMA tienda",
                         "hstore"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(server: Server, psql: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive in which nothing is wrong."""
    execute(server.conninfo(), "CREATE DATABASE objetos")
    psql(server, server.conninfo("objetos"), OBJECTS)
    path = make_backup(server.conninfo("objetos"), tmp_path_factory.mktemp("sound")).path
    assert path
    yield path
    execute(server.conninfo(), "DROP DATABASE objetos WITH (FORCE)", *(f'DROP ROLE "{role}"' for role in ROLES))


Spoil = Callable[..., Record]


@pytest.fixture(scope="module")
def spoil(sound: Path, drill_of: DrillOf, tmp_path_factory: pytest.TempPathFactory) -> Spoil:
    """`spoil(faults, lying=True)`: the record of an archive with all these faults, drilled once."""
    records: dict[tuple[int, bool], Record] = {}

    def spoil(faults: dict[str, Fault], *, lying: bool) -> Record:
        key = (id(faults), lying)
        if key not in records:
            path = tmp_path_factory.mktemp("spoiled") / sound.name
            shutil.copy(sound, path)
            shutil.copy(sound.with_name(sound.name + SUFFIX), path.parent)
            rewrite(path, together({name: fault.alter for name, fault in faults.items()}))
            reseal(path, lying=lying)
            records[key] = drill_of(path)
        return records[key]

    return spoil


def names(record: Record, fault: Fault) -> bool:
    return any(
        fault.subject in f.object and fault.word in f"{f.expected} {f.actual}"
        for f in record.findings
        if f.status == "fault" and f.cause == "archive" and f.hint
    )


def cases(*groups: dict[str, Fault]) -> list[object]:
    return [pytest.param(faults, name, id=name) for faults in groups for name in faults]


@pytest.mark.parametrize(("faults", "name"), cases(*ALTERED, TAMPERED))
def test_an_object_altered_in_the_archive_is_named(spoil: Spoil, faults: dict[str, Fault], name: str) -> None:
    """Row 32 and Trap 2: definitions are compared, not names alone; a generated column's expression is one."""
    record = spoil(faults, lying=False)
    assert record.verdict == "failed", told(record)
    assert names(record, faults[name]), told(record)


@pytest.mark.parametrize(("faults", "name"), cases(*LOST))
def test_an_object_lost_from_the_archive_is_named(spoil: Spoil, faults: dict[str, Fault], name: str) -> None:
    """Row 29: a sequence's value and an identity among them."""
    record = spoil(faults, lying=False)
    assert record.verdict == "failed", told(record)
    assert names(record, faults[name]), told(record)


@pytest.mark.parametrize(("faults", "name"), cases(*ALTERED))
def test_an_object_that_pg_dump_alters_is_named(spoil: Spoil, faults: dict[str, Fault], name: str) -> None:
    record = spoil(faults, lying=True)
    assert record.verdict == "failed", told(record)
    assert names(record, faults[name]), told(record)


@pytest.mark.parametrize(("faults", "name"), cases(*LOST))
def test_an_object_that_pg_dump_loses_is_named(spoil: Spoil, faults: dict[str, Fault], name: str) -> None:
    record = spoil(faults, lying=True)
    assert record.verdict == "failed", told(record)
    assert names(record, faults[name]), told(record)


def test_the_archive_they_were_made_from_is_verified(sound: Path, drill_of: DrillOf) -> None:
    record = drill_of(sound)
    assert record.verdict == "verified", told(record)


def test_a_view_of_which_the_archive_does_not_hold_the_sources_own_words_is_named(
    sound: Path, drill_of: DrillOf, tmp_path: Path
) -> None:
    """pg_dump writes what `pg_get_viewdef` said; whoever writes another text, of the same meaning or not, was not asked."""
    path = tmp_path / sound.name
    shutil.copy(sound, path)
    text = sound.with_name(sound.name + SUFFIX).read_text()
    worded = text.replace("SELECT id,\\n    nombre\\n   FROM", "SELECT id,\\n    marca\\n   FROM")
    assert worded != text
    path.with_name(path.name + SUFFIX).write_text(worded)
    assert names(drill_of(path), altered("", "", "view tienda.caros", "definition: "))
