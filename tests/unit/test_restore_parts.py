"""What a restore takes from an archive, what it leaves, and what it makes of roles: without a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backup_lib.dump_events import CopyStart, EntryStart, Sql
from backup_lib.dump_reader import read_events
from backup_lib.errors import DamagedArchiveError, NoSuchArchiveError, UsageError
from backup_lib.manifest import Globals
from backup_lib.restore.database import database_statements, role_statements
from backup_lib.restore.outline import Outline, Part, read_outline, roles_of
from backup_lib.restore.selection import Selection, select
from backup_lib.restore.standing import build_drops
from backup_lib.restore.stream import Changes, chosen_events
from backup_lib.restore.target import ServerFacts

HEAD = "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 18.0\n\nSET client_encoding = 'UTF8';\n"
END = "\n--\n-- PostgreSQL database dump complete\n--\n\n"


def entry(kind: str, name: str, text: str, *, schema: str = "public", owner: str = "ana", data: str = "") -> str:
    title = f"-- {data}Name: {name}; Type: {kind}; Schema: {schema}; Owner: {owner}\n"
    return f"\n--\n{title}--\n\n{text}\n"


# A table whose name holds a blank, beside one that is called like its beginning.
ODD = "".join(
    [
        entry("TABLE", "a b", 'CREATE TABLE public."a b" (c int, e public.color);\nALTER TABLE public."a b" OWNER TO ana;'),
        entry("TABLE", "a", "CREATE TABLE public.a (c int);"),
        entry("TYPE", "color", "CREATE TYPE public.color AS ENUM ('x');"),
        entry("CONSTRAINT", "a b c", 'ALTER TABLE ONLY public."a b"\n    ADD CONSTRAINT c PRIMARY KEY (c);'),
        entry("CONSTRAINT", "a b c", 'ALTER TABLE ONLY public.a\n    ADD CONSTRAINT "b c" PRIMARY KEY (c);'),
        entry("INDEX", "ix", "CREATE INDEX ix ON public.a USING btree (c);"),
        entry("TRIGGER", "a b t", 'CREATE TRIGGER t AFTER UPDATE OF "x ON public.a" ON public."a b" FOR EACH ROW '
                                  "EXECUTE FUNCTION public.f();"),
        entry("COMMENT", "COLUMN \"a b\".c", 'COMMENT ON COLUMN public."a b".c IS \'of public.a, not\';'),
        entry("ACL", "TABLE a", "GRANT SELECT ON TABLE public.a TO luis;"),
        entry("SEQUENCE", "s", "ALTER TABLE public.a ALTER COLUMN c ADD GENERATED ALWAYS AS IDENTITY (\n"
                               "    SEQUENCE NAME public.s\n);"),
        entry("SEQUENCE SET", "s", "SELECT pg_catalog.setval('public.s', 7, true);"),
        entry("TABLE DATA", "a", "COPY public.a (c) FROM stdin;\n1\n\\.\n", data="Data for "),
    ]
)  # fmt: skip


def outline(tmp_path: Path, body: str) -> Outline:
    path = tmp_path / "a.sql"
    path.write_text(HEAD + body + END)
    return read_outline(path)


def labels(selection: Selection) -> list[str]:
    return [part.label.replace("public.", "") for part in selection.parts]


def test_names_with_blanks_are_told_apart_by_the_text(tmp_path: Path) -> None:
    archive = outline(tmp_path, ODD)
    chosen = select(archive, tables=["a b"], there=frozenset({("public",)}))
    assert labels(chosen) == ["TABLE a b", "CONSTRAINT a b c", "TRIGGER a b t", 'COMMENT COLUMN "a b".c']
    assert [(d.label, d.needed_by[0].label) for d in chosen.dependencies] == [
        ("TYPE public.color", "TABLE public.a b"),
        ("FUNCTION public.f", "TRIGGER public.a b t"),
    ]
    chosen = select(archive, tables=["public.a"], there=frozenset({("public",)}))
    assert labels(chosen) == [
        "TABLE a", "CONSTRAINT a b c", "INDEX ix", "ACL TABLE a", "SEQUENCE s", "SEQUENCE SET s", "TABLE DATA a",
    ]  # fmt: skip
    assert labels(select(archive, what="data", tables=["a"])) == ["SEQUENCE SET s", "TABLE DATA a"]
    assert "TABLE DATA a" not in labels(select(archive, what="schema"))
    with pytest.raises(NoSuchArchiveError, match="no table called A") as failed:
        select(archive, tables=["A"])
    assert "did you mean" in failed.value.hint or "there is" in failed.value.hint


def events(archive: Outline, tmp_path: Path, changes: Changes) -> list[object]:
    return list(chosen_events(read_events(iter([(tmp_path / "a.sql").read_bytes()])), changes))


def text_of(found: list[object]) -> str:
    return b"".join(event.text for event in found if isinstance(event, Sql)).decode()


def test_only_chosen_entries_and_session_settings_pass(tmp_path: Path) -> None:
    body = "DROP DATABASE shop;\nSET lock_timeout = 0;\nBEGIN;\n" + ODD
    archive = outline(tmp_path, body)
    chosen = select(archive, tables=["a"], there=frozenset({("public",)}))
    found = events(archive, tmp_path, Changes(places=chosen.places))
    text = text_of(found)
    assert "client_encoding" in text
    assert not [word for word in ("DROP", "lock_timeout", "BEGIN", "a b") if word in text]
    assert [event.target for event in found if isinstance(event, CopyStart)] == ["public.a"]
    assert len([event for event in found if isinstance(event, EntryStart)]) == len(chosen.parts)


def test_owners_and_grants_of_missing_roles_are_left_out(tmp_path: Path) -> None:
    body = ODD + entry(
        "ACL", "TABLE a", "GRANT ALL ON TABLE public.a TO PUBLIC;\nREVOKE ALL ON TABLE public.a FROM luis;"
    )
    archive = outline(tmp_path, body)
    changes = Changes(
        places=select(archive).places, keep_owners=False, missing_roles=frozenset({"luis"}),
        schemas_there=frozenset({"public"}),
    )  # fmt: skip
    text = text_of(events(archive, tmp_path, changes))
    assert "OWNER TO" not in text
    assert "luis" not in text
    assert "TO PUBLIC" in text


def test_a_tablespace_the_server_lacks_is_the_default_one(tmp_path: Path) -> None:
    body = entry("TABLE", "z", "CREATE TABLE public.z ();\n\nSET default_tablespace = rapido;\n") + ODD
    archive = outline(tmp_path, body)
    everything = select(archive).places
    text = text_of(events(archive, tmp_path, Changes(places=everything, missing_tablespaces=frozenset({"rapido"}))))
    assert "SET default_tablespace = '';" in text
    assert "rapido" not in text
    assert "rapido" in text_of(events(archive, tmp_path, Changes(places=everything)))


@pytest.mark.parametrize(
    ("kind", "text", "roles"),
    [
        ("TABLE", 'CREATE TABLE a ();\nALTER TABLE a OWNER TO "Doña Ana";', {"ana", "Doña Ana"}),
        ("ACL", "REVOKE ALL ON TABLE a FROM luis;\nGRANT SELECT ON TABLE a TO PUBLIC;", {"ana", "luis"}),
        ("ACL", "SET SESSION AUTHORIZATION eva;\nGRANT SELECT ON TABLE a TO luis WITH GRANT OPTION;\nRESET SESSION "
                "AUTHORIZATION;", {"ana", "eva", "luis"}),
        ("DEFAULT ACL", "ALTER DEFAULT PRIVILEGES FOR ROLE eva IN SCHEMA s GRANT SELECT ON TABLES TO luis;",
         {"ana", "eva", "luis"}),
        ("POLICY", "CREATE POLICY p ON public.t TO luis, eva USING ((c TO d));", {"ana", "luis", "eva"}),
        ("POLICY", "CREATE POLICY p ON public.t USING (true);", {"ana"}),
        ("FUNCTION", "CREATE FUNCTION f() AS $$ GRANT x TO nobody; $$;", {"ana"}),
    ],
)  # fmt: skip
def test_the_roles_an_entry_names(kind: str, text: str, roles: set[str]) -> None:
    assert roles_of(Part(place=0, start=EntryStart(kind, "public", "x", "ana"), text=text.encode() + b"\n")) == roles


def test_what_is_no_archive_of_one_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sql"
    path.write_text(HEAD + "\\! touch x\n" + ODD + END)
    with pytest.raises(UsageError, match=r"holds \\!"):
        read_outline(path)
    path.write_text(HEAD + ODD)
    with pytest.raises(DamagedArchiveError, match=r"cut short: it ends in TABLE DATA public\.a"):
        read_outline(path)
    path.write_text(HEAD + "\\connect one\n" + ODD + "\\connect two\n" + ODD + END)
    with pytest.raises(UsageError, match="holds 2 databases"):
        read_outline(path)


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("COPY public.a FROM PROGRAM 'touch x';", "COPY"),
        ("copy (SELECT 1) TO '/tmp/x';", "COPY"),
        ("/* pg_dump */ -- says\nALTER  SYSTEM SET archive_command = 'x';", "ALTER SYSTEM"),
        ("DO $$ BEGIN END $$;", "DO"),
        ("LOAD '/tmp/x.so';", "LOAD"),
    ],
)
@pytest.mark.parametrize("inside", [True, False], ids=["in-an-entry", "before-any"])
def test_what_reaches_beyond_the_database_is_refused(
    tmp_path: Path,
    statement: str,
    word: str,
    inside: bool,  # noqa: FBT001
) -> None:
    body = entry("TABLE", "z", f"CREATE TABLE public.z ();\n{statement}") if inside else f"\n{statement}\n{ODD}"
    with pytest.raises(UsageError, match=f"holds {word}, which pg_dump never writes"):
        outline(tmp_path, body)


SERVER = ServerFacts(
    version="18.6", version_number=180006, role="me", may_create_databases=True, in_recovery=False,
    databases=frozenset(), unfinished=frozenset(), roles=frozenset({"me", "old", "boss"}), superusers=frozenset({"boss"}),
    tablespaces=frozenset(), extensions=frozenset(), free_bytes=None,
)  # fmt: skip
GLOBALS = Globals(
    roles=("new", "root2", "old"),
    statements=(
        "CREATE ROLE new WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT -1",
        'CREATE ROLE root2 WITH SUPERUSER INHERIT LOGIN CONNECTION LIMIT -1',
        "CREATE ROLE old WITH NOSUPERUSER",
        "GRANT old TO new WITH ADMIN FALSE, INHERIT TRUE, SET TRUE GRANTED BY postgres",
        "GRANT boss TO new",
        "GRANT root2 TO new",
        "GRANT pg_execute_server_program TO new",
        "GRANT new TO old",
        'ALTER ROLE "new" SET work_mem TO \'4MB\'',
        'ALTER ROLE "old" SET work_mem TO \'4MB\'',
        "ALTER DATABASE shop OWNER TO new",
        'ALTER DATABASE "shop" SET work_mem TO \'8MB\'',
        'ALTER ROLE "new" IN DATABASE "shop" SET work_mem TO \'9MB\'',
        "REVOKE ALL ON DATABASE shop FROM PUBLIC",
        "GRANT CONNECT ON DATABASE shop TO gone",
    ),
)  # fmt: skip


def test_roles_that_are_made_gain_no_power_unless_told() -> None:
    made = role_statements(GLOBALS, ["new", "root2"], SERVER, superusers=False)
    assert made == [
        "CREATE ROLE new WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT -1",
        "CREATE ROLE root2 WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT -1",
        "GRANT old TO new WITH ADMIN FALSE, INHERIT TRUE, SET TRUE",
        "ALTER ROLE \"new\" SET work_mem TO '4MB'",
    ]
    told = role_statements(GLOBALS, ["new", "root2"], SERVER, superusers=True)
    assert "CREATE ROLE root2 WITH SUPERUSER INHERIT LOGIN CONNECTION LIMIT -1" in told
    assert {"GRANT boss TO new", "GRANT root2 TO new", "GRANT pg_execute_server_program TO new"} <= set(told)
    assert not [statement for statement in told if "TO old" in statement or "old WITH" in statement]


def test_memberships_are_written_as_the_servers_major_reads_them() -> None:
    older = replace(SERVER, version_number=150018)
    known = replace(
        GLOBALS, statements=(*GLOBALS.statements, "GRANT me TO new WITH ADMIN TRUE, INHERIT TRUE, SET TRUE")
    )
    grants = [s for s in role_statements(known, ["new"], older, superusers=False) if s.startswith("GRANT")]
    assert grants == ["GRANT old TO new", "GRANT me TO new WITH ADMIN OPTION"]


def test_what_is_said_of_the_database_is_said_of_the_new_one() -> None:
    said = list(database_statements(GLOBALS.statements, "shop2", frozenset({"new"})))
    assert said == [
        'ALTER DATABASE "shop2" OWNER TO new',
        "ALTER DATABASE \"shop2\" SET work_mem TO '8MB'",
        'ALTER ROLE "new" IN DATABASE "shop2" SET work_mem TO \'9MB\'',
        'REVOKE ALL ON DATABASE "shop2" FROM PUBLIC',
    ]


def test_everything_in_a_catalog_is_dropped_by_its_own_word() -> None:
    drops = build_drops(
        ["table a.t", "text search configuration a.c", "foreign table a.f", "materialized view a.m", "schema a",
         "index a.i", "table constraint c on a.t", "operator class a.o USING btree", "function a.f(integer)",
         "statistics object a.s", "foreign-data wrapper w", "user mapping public on server w", "large objects 3"]
    )  # fmt: skip
    assert drops == [
        "DROP SCHEMA IF EXISTS a CASCADE",
        "DROP MATERIALIZED VIEW IF EXISTS a.m CASCADE",
        "DROP FOREIGN TABLE IF EXISTS a.f CASCADE",
        "DROP TABLE IF EXISTS a.t CASCADE",
        "DROP OPERATOR CLASS IF EXISTS a.o USING btree CASCADE",
        "DROP FUNCTION IF EXISTS a.f(integer) CASCADE",
        "DROP TEXT SEARCH CONFIGURATION IF EXISTS a.c CASCADE",
        "DROP STATISTICS IF EXISTS a.s CASCADE",
        "DROP FOREIGN DATA WRAPPER IF EXISTS w CASCADE",
    ]
