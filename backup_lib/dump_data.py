"""The rows and large objects of a dump, counted and hashed as they come by; nothing of them is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from backup_lib.inventory import LargeObject, TableData, as_shown
from backup_lib.sql_lexer import IDENTIFIER, QUALIFIED, Rules, repeated, split_statements, unquote

_INSERT = re.compile(
    rb"\s*+(INSERT INTO ("
    + QUALIFIED
    + rb") (?:\(("
    + repeated(IDENTIFIER + rb"(?:, )?")
    + rb")\) )?(?:OVERRIDING (?:SYSTEM|USER) VALUE )?(?:VALUES\s*+)?)"
)
_COLUMN = re.compile(IDENTIFIER)
_NAMES = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_ROW_SEPARATOR = b",\n\t"
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_LO_CALL = re.compile(rb"lo_open\([^\d;]*(\d+)'|lowrite\(0, '\\{1,2}x([0-9a-fA-F]*)'\)")


class Rows:
    """The rows of one `TABLE DATA` entry.

    The digest is over COPY's lines as they are, or over each row of an INSERT from parenthesis to parenthesis and
    a newline, so that it does not matter how many rows one statement holds.

    :param on_inserted: is given the rows of INSERT statements as they are counted.
    """

    def __init__(
        self, schema: str | None, name: str, *, on_inserted: Callable[[Sequence[bytes]], object] | None = None
    ) -> None:
        self._on_inserted = on_inserted
        self._schema = schema
        self._name = name
        self._form: Literal["copy", "insert"] = "insert"  # of an empty table such a dump says nothing
        self._target = ".".join(_quote(part) for part in (schema, name) if part is not None)
        self._columns: tuple[str, ...] | None = None
        self._count = 0
        self._size_bytes = 0
        self._digest = sha256()
        self.begun = False

    def begin(self, form: Literal["copy", "insert"], target: str, columns: tuple[str, ...] | None) -> None:
        self._form, self._target, self._columns, self.begun = form, target, columns, True
        names = [quoted.replace('""', '"') if quoted else bare for quoted, bare in _NAMES.findall(target)]
        if len(names) == 2 and as_shown(names[0], names[1]) == (self._schema, self._name):
            self._schema, self._name = names  # exactly, which the comment cannot say

    def add_copied(self, data: bytes) -> None:
        self._count += data.count(b"\n")
        self._add(data)

    def add_inserted(self, text: bytes, rules: Rules) -> None:
        """Count the rows of whole INSERT statements; other statements (of triggers) are passed over."""
        head = _INSERT.match(text)
        if head is not None and not self.begun:
            names = None if head[3] is None else _COLUMN.findall(head[3])
            columns = None if names is None else tuple(rules.decode(unquote(name)) for name in names)
            self.begin("insert", rules.decode(head[2]), columns)
        rows = _rows_of(text, head, rules) if head else []
        if rows:
            self._add_rows(rows)
            return
        statements = list(split_statements(text, rules=rules))
        if len(statements) > 1:
            for statement in statements:
                self.add_inserted(statement.strip() + b"\n", rules)
        elif head:  # not by pg_dump: how many rows it makes only a server can tell
            self._add_rows([text.strip()])

    def _add_rows(self, rows: Sequence[bytes]) -> None:
        if self._on_inserted is not None:
            self._on_inserted(rows)
        self._count += len(rows)
        self._add(b"\n".join(rows) + b"\n")

    def _add(self, data: bytes) -> None:
        self._size_bytes += len(data)
        self._digest.update(data)

    def result(self, database: str | None) -> TableData:
        return TableData(
            schema=self._schema,
            name=self._name,
            target=self._target,
            columns=self._columns,
            form=self._form,
            rows=self._count,
            size_bytes=self._size_bytes,
            sha256=self._digest.hexdigest(),
            database=database,
        )


class LargeObjects:
    """Large objects, each as the calls that write it: lo_open, lowrite for each piece, lo_close."""

    def __init__(self) -> None:
        self._done: list[LargeObject] = []
        self._oid: int | None = None
        self._begin(None, None)

    def _begin(self, oid: int | None, database: str | None) -> None:
        self._oid, self._database = oid, database
        self._size_bytes = 0
        self._digest = sha256()

    def add(self, text: bytes, database: str | None) -> None:
        for call in _LO_CALL.finditer(text):
            if call[1] is not None:
                self._finish()
                self._begin(int(call[1]), database)
            else:
                data = bytes.fromhex(call[2].decode("ascii"))
                self._size_bytes += len(data)
                self._digest.update(data)

    def _finish(self) -> None:
        if self._oid is not None:
            self._done.append(
                LargeObject(
                    oid=self._oid,
                    size_bytes=self._size_bytes,
                    sha256=self._digest.hexdigest(),
                    database=self._database,
                )
            )
        self._oid = None

    def result(self) -> tuple[LargeObject, ...]:
        self._finish()
        return tuple(self._done)


@lru_cache(maxsize=16)
def _row(head: bytes, rules: Rules) -> re.Pattern[bytes]:
    """A row, and unless another one of the same statement follows, what stands before the next statement's first."""
    row = rb"(\(" + repeated(rb"[^'()]++|(?<![eE])" + rules.quoted) + rb"\)|DEFAULT VALUES)"
    end = rb"((?: ON CONFLICT DO NOTHING)?;\n(?:" + re.escape(head) + rb"|\Z))"
    return re.compile(row + b"(?:" + _ROW_SEPARATOR + b"|" + end + b")", re.DOTALL)


def _rows_of(text: bytes, head: re.Match[bytes], rules: Rules) -> Sequence[bytes]:
    """The rows of INSERT statements that all begin like the first; none where they are not as pg_dump writes them."""
    found = _row(head[1], rules).findall(text, head.end())
    if not found:
        return ()
    rows, ends = zip(*found, strict=True)
    length = sum(map(len, rows)) + sum(map(len, ends)) + len(_ROW_SEPARATOR) * ends.count(b"")
    # Nothing was skipped, if what was found is as long as what there is.
    return rows if length == len(text) - head.end() else ()


def _quote(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'
