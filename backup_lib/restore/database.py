"""A new database for a restore: like the one the archive is from, and gone again when the restore fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import psycopg
from psycopg import errors, sql

from backup_lib.cluster import quote_ident
from backup_lib.errors import RestoreError
from backup_lib.load_order import NAME, parse_table
from backup_lib.manifest import Environment, Globals
from backup_lib.restore.outline import Outline, Part
from backup_lib.restore.stream import bare
from backup_lib.restore.target import UNFINISHED, Connection, ServerFacts
from backup_lib.sql_lexer import split_statements

_OPTIONS = re.compile(rb"CREATE DATABASE " + NAME + rb" WITH ([^;]*);")
_OPTION = re.compile(rb"(ENCODING|LOCALE_PROVIDER|LOCALE|LC_COLLATE|LC_CTYPE|ICU_LOCALE|ICU_RULES|BUILTIN_LOCALE)"
                     rb" = ('(?:[^']|'')*'|\w+)")  # fmt: skip
_PROVIDER_SINCE = 150000
_CLIENT_ONLY = frozenset({"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"})
_ROLE = re.compile(r"CREATE ROLE (" + NAME.decode() + r") WITH (.*)", re.DOTALL)
_GRANT = re.compile(r"GRANT (" + NAME.decode() + r") TO (" + NAME.decode() + r")(?: |\Z)")
_OF_ROLE = re.compile(r"(?:COMMENT ON|ALTER) ROLE (" + NAME.decode() + r") (?:IS|SET) ", re.DOTALL)
_OF_DATABASE = re.compile(
    r"((?:ALTER|COMMENT ON|(?:GRANT|REVOKE) [A-Z, ]+ ON) DATABASE |ALTER ROLE " + NAME.decode() + r" IN DATABASE )("
    + NAME.decode() + r")(?= )"
)  # fmt: skip
# Members of these act as the server's account on its machine: as good as a superuser.
_AS_GOOD_AS_SUPERUSER = frozenset({"pg_execute_server_program", "pg_write_server_files", "pg_read_server_files"})


def build_create(name: str, outline: Outline, environment: Environment | None, server: ServerFacts) -> sql.Composed:
    """The statement that makes the database: as the manifest says, else as the archive, else of its encoding."""
    options = _like(environment, server) if environment is not None else _as_archived(outline, server)
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(name), sql.SQL(" ").join(options))


def create_database(conn: Connection, statement: sql.Composed) -> None:
    """:raises RestoreError: when the server lacks the locale, or may not."""
    try:
        conn.execute(statement)
    except psycopg.Error as exc:
        if exc.sqlstate is None or isinstance(exc, errors.QueryCanceled):
            raise
        if isinstance(exc, errors.DuplicateDatabase | errors.UniqueViolation):
            raise RestoreError(
                "the database cannot be made: somebody else has just made one of that name",
                hint="wait for their restore, or name another database",
            ) from exc
        raise RestoreError(
            f"the database cannot be made: {exc.diag.message_primary}",
            hint="install the locale on the server's machine, or make the database yourself (CREATE DATABASE … "
            "TEMPLATE template0) and name it: --to-database NAME",
        ) from exc


def drop_database(conn: Connection, name: str) -> None:
    """With all sessions in it."""
    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def mark_unfinished(conn: Connection, name: str) -> None:
    """So that what a killed restore leaves behind is known for what it is."""
    conn.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(UNFINISHED)))


def mark_finished(conn: Connection, name: str) -> None:
    conn.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(name)))


def bare_statements(part: Part) -> list[bytes]:
    """An entry's statements, without the comments before them."""
    return [bare(statement) for statement in split_statements(part.text)]


def role_statements(known: Globals, made: Iterable[str], server: ServerFacts, *, superusers: bool) -> list[str]:
    """The manifest's statements for the roles that are made; roles that exist are left as they are.

    :param superusers: whether they may become superusers, or members of what is as good.
    """
    new = set(made)
    powerful = server.superusers | _AS_GOOD_AS_SUPERUSER | _superusers_in(known)
    statements = []
    for statement in known.statements:
        if (role := _ROLE.fullmatch(statement)) and _name(role[1]) in new:
            options = role[2] if superusers else re.sub(r"\bSUPERUSER\b", "NOSUPERUSER", role[2])
            statements.append(f"CREATE ROLE {role[1]} WITH {options}")
        elif grant := _GRANT.match(statement):
            group, member = _name(grant[1]), _name(grant[2])
            exists = group in server.roles | new or group.startswith("pg_")
            if member in new and exists and (superusers or group not in powerful):
                statements.append(_grant_for(server, re.sub(r" GRANTED BY .*", "", statement, flags=re.DOTALL)))
        elif (of := _OF_ROLE.match(statement)) and _name(of[1]) in new:
            statements.append(statement)
    return statements


def _grant_for(server: ServerFacts, statement: str) -> str:
    """A membership as this server's major writes it: before 16 ADMIN is the only option."""
    if server.version_number >= 160000:
        return statement
    bare, _, options = statement.partition(" WITH ADMIN ")
    return bare + (" WITH ADMIN OPTION" if options.startswith(("TRUE", "OPTION")) else "")


def database_statements(statements: Iterable[str], name: str, roles: frozenset[str]) -> Iterator[str]:
    """Owner, privileges and settings of the source's database, said of one called `name`.

    Those for roles that the server does not have are left out.
    """
    for statement in statements:
        found = _OF_DATABASE.match(statement)
        if found is None:
            continue
        role = re.search(r" (?:OWNER TO|TO|FROM) (" + NAME.decode() + r")(?: WITH GRANT OPTION)?;?\s*\Z", statement)
        in_role = re.match(r"ALTER ROLE (" + NAME.decode() + r") IN ", statement)
        named = [match for match in (role if " SET " not in statement else None, in_role) if match is not None]
        if all(_name(match[1]) in roles | {"PUBLIC", "ALL"} for match in named):
            yield found[1] + quote_ident(name) + statement[found.end() :]


def _superusers_in(known: Globals) -> set[str]:
    found = [_ROLE.fullmatch(statement) for statement in known.statements]
    return {_name(role[1]) for role in found if role and re.match(r"SUPERUSER\b", role[2])}


def _name(quoted: str) -> str:
    return parse_table(quoted)[0]


def _like(there: Environment, server: ServerFacts) -> list[sql.Composable]:
    def option(word: str, value: str) -> sql.Composable:
        return sql.SQL(word + " {}").format(sql.Literal(value))

    options = [option("ENCODING", there.encoding), option("LC_COLLATE", there.collate), option("LC_CTYPE", there.ctype)]
    if server.version_number < _PROVIDER_SINCE:
        return options
    if there.locale_provider == "icu" and there.icu_locale:
        options += [sql.SQL("LOCALE_PROVIDER icu"), option("ICU_LOCALE", there.icu_locale)]
        options += [option("ICU_RULES", there.icu_rules)] if there.icu_rules else []
    elif there.locale_provider == "builtin" and there.icu_locale:
        options += [sql.SQL("LOCALE_PROVIDER builtin"), option("BUILTIN_LOCALE", there.icu_locale)]
    else:
        options.append(sql.SQL("LOCALE_PROVIDER libc"))
    return options


def _as_archived(outline: Outline, server: ServerFacts) -> list[sql.Composable]:
    made = outline.makes_database
    found = _OPTIONS.search(made.text) if made is not None else None
    if found is None:
        encoding = (outline.inventory.encoding or "UTF8").upper()
        return [sql.SQL("ENCODING {}").format(sql.Literal("UTF8" if encoding in _CLIENT_ONLY else encoding))]
    options = {name: value for name, value in _OPTION.findall(found[1])}
    if server.version_number < _PROVIDER_SINCE:
        options.pop(b"LOCALE_PROVIDER", None)
    return [sql.SQL((name + b" = " + value).decode("utf-8")) for name, value in options.items()]
