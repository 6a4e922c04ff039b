"""The commented configuration that `pgdrill init` writes, made from the sections themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from typing import Any

from backup_lib.settings import (
    BackupSettings,
    DatabaseSettings,
    EncryptionSettings,
    FilesSettings,
    NotifySettings,
    RetentionSettings,
    StatusSettings,
    VerifySettings,
)

_HEAD = """\
# The configuration of pgdrill, for this folder. What is commented out is at its default.
# Order: option of the command, environment, .env, this file, default.
# `pgdrill config check` finds mistakes; `pgdrill config show` says what counts, and where it is from.
"""
_CHECKS = """\
# Queries whose answer in the restored database must be as expected: equals, at_least, at_most, or rows.
#
# [[checks]]
# name = "sales are not empty"
# sql = "SELECT count(*) FROM sales"
# at_least = 1
#
# [[checks]]
# name = "no items without a sale"
# database = {database}
# sql = "SELECT FROM sale_items i LEFT JOIN sales s ON s.id = i.sale_id WHERE s.id IS NULL"
# rows = 0

# A fault that somebody answers for until a day: shown, and it fails nothing. An expired one fails.
#
# [[suppressions]]
# check = "schema"
# object = "INDEX public.legacy_*"
# reason = "dropped with the next release"
# owner = "ana@example.org"
# expires = 2027-01-31
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What `pgdrill init` asks."""

    database: str = "shop"
    url_variable: str = "DATABASE_URL"
    dir: str = "backups"
    rto: str = "1h"
    rpo: str = "26h"


def render_template(answers: Answers) -> str:
    """TOML that reads back as the answers say, and explains every setting."""
    database = quote(answers.database)
    parts = [
        _HEAD,
        _section(BackupSettings, "[backup]", {"dir": quote(answers.dir)}),
        _section(EncryptionSettings, "[encryption]", {}),
        _section(RetentionSettings, "[retention]", {}),
        _section(FilesSettings, "[files]", {}),
        _section(VerifySettings, "[verify]", {"rto": quote(answers.rto), "rpo": quote(answers.rpo)}),
        _section(StatusSettings, "[status]", {}),
        _section(NotifySettings, "[notify]", {}),
        _section(DatabaseSettings, f"[databases.{database}]", {"url_env": quote(answers.url_variable)}),
        _CHECKS.format(database=database),
    ]
    return "\n".join(parts)


def quote(text: str) -> str:
    """A basic string of TOML."""
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def _section(cls: type, header: str, given: dict[str, str]) -> str:
    lines = [*_comment((cls.__doc__ or "").strip()), header]
    for field in fields(cls):
        lines += _setting(field, given)
    return "\n".join(lines) + "\n"


def _setting(field: Field[Any], given: dict[str, str]) -> Iterator[str]:
    key = field.metadata["key"] or field.name
    env = f" Variable: {field.metadata['env']}." if field.metadata["env"] else ""
    yield from _comment(f"{field.metadata['help']}{env}")
    said = [name for name in (key, f"{key}_env") if name in given]
    yield f"{said[0]} = {given[said[0]]}" if said else f"# {key} = {_example(field)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")


def _example(field: Field[Any]) -> str:
    """Its example, else its default, as TOML."""
    value = field.default
    if example := field.metadata["example"]:
        return str(example)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(quote, value)) + "]"
    return quote(value) if isinstance(value, str) else f"{value:g}"
