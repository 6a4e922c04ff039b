"""The kinds of damage the negative control tries, cheapest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from verification.checks import Level
from verification.damage import Damage, cuts, definitions, rows, stored
from verification.damage.dump_map import DumpMap

Base = Literal["rows", "definitions"]
_FILES = ("gzip", "zstd", "none", "custom", "tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKind:
    """Damage to the archive's bytes; its manifest stays as it is."""

    name: str
    title: str
    strike: stored.StrikeBytes
    shows_in: tuple[str, ...] = ()  # where it is seen without a promised digest


@dataclass(frozen=True, slots=True, kw_only=True)
class TextKind:
    """Damage to pg_dump's text in a file that is flawless, and whose manifest holds that file's digest.

    So the digest of the file cannot be what catches it.
    """

    name: str
    title: str
    strike: Callable[[DumpMap, Random], Damage | None]
    level: Level  # the lowest at which it must be seen
    base: Base  # of what: the whole text, or the definitions alone, which restore in no time
    needs_promise: bool = True  # without the source's side nobody could know
    is_lie: bool = False  # the manifest's inventory agrees with it: pg_dump itself lost it
    is_drawn: bool = False  # one of those of which each archive tries a few only


STORED: tuple[StoredKind, ...] = (
    StoredKind(name="file-emptied", title="file emptied", strike=stored.emptied, shows_in=_FILES),
    StoredKind(name="file-cut", title="file cut short", strike=stored.cut, shows_in=("gzip", "zstd", "none", "custom")),
    StoredKind(name="last-byte-lost", title="last byte lost", strike=stored.last_byte_lost, shows_in=("gzip", "zstd")),
    StoredKind(name="bytes-appended", title="bytes appended", strike=stored.appended, shows_in=("gzip", "zstd")),
    StoredKind(name="bit-flipped", title="one bit flipped", strike=stored.bit_flipped, shows_in=("gzip",)),
    StoredKind(name="block-lost", title="a block lost", strike=stored.block_lost, shows_in=("gzip",)),
    StoredKind(name="block-zeroed", title="a block zeroed", strike=stored.block_zeroed, shows_in=("gzip",)),
    StoredKind(name="block-doubled", title="a block doubled", strike=stored.block_doubled, shows_in=("gzip",)),
)  # fmt: skip


# A restore each is what they cost, so of the many others each archive tries the few that its seed draws.
_ALWAYS = frozenset(
    {
        "acl-lost", "check-altered", "check-lost", "comment-altered", "comment-lost", "default-in-table-lost",
        "encoding-changed", "extension-lost", "fk-constraint-lost", "foreign-key-altered", "function-altered",
        "function-lost", "grant-altered", "index-altered", "index-lost", "not-null-lost", "owner-altered",
        "policy-altered", "policy-lost", "primary-key-lost", "sequence-lost", "sequence-value-altered",
        "table-lost", "trigger-altered", "trigger-lost", "view-altered", "view-lost",
    }
)  # fmt: skip


def _cut(name: str, title: str, strike: Callable[[DumpMap, Random], Damage | None]) -> TextKind:
    return TextKind(name=name, title=title, strike=strike, level="integrity", base="rows", needs_promise=False)


def _row(name: str, title: str, strike: Callable[[DumpMap, Random], Damage | None], level: Level = "full") -> TextKind:
    return TextKind(name=name, title=title, strike=strike, level=level, base="rows")


def _definition(name: str, title: str, strike: Callable[[DumpMap, Random], Damage | None]) -> TextKind:
    drawn = name not in _ALWAYS
    return TextKind(name=name, title=title, strike=strike, level="full", base="definitions", is_drawn=drawn)


_ALTERED: tuple[TextKind, ...] = (
    _definition("index-altered", "an index's order turned", definitions.index_altered),
    _definition("foreign-key-altered", "a foreign key made to cascade", definitions.foreign_key_altered),
    _definition("check-altered", "a check that is always true", definitions.check_altered),
    _definition("check-lost", "a table's check lost", definitions.check_lost),
    _definition("default-in-table-lost", "a column's default lost", definitions.default_lost),
    _definition("not-null-lost", "a NOT NULL lost", definitions.not_null_lost),
    _definition("column-type-altered", "a column's type widened", definitions.column_type_altered),
    _definition("trigger-altered", "a trigger's argument altered", definitions.trigger_altered),
    _definition("view-altered", "a view limited", definitions.view_altered),
    _definition("function-altered", "a function's body altered", definitions.function_altered),
    _definition("policy-altered", "a policy that lets all pass", definitions.policy_altered),
    _definition("grant-altered", "a grant widened", definitions.grant_altered),
    _definition("comment-altered", "a comment altered", definitions.comment_altered),
    _definition("owner-altered", "an object given to another owner", definitions.owner_altered),
    _definition("enum-label-added", "a label added to an enum", definitions.enum_label_added),
    _definition("sequence-altered", "a sequence's step altered", definitions.sequence_altered),
    _definition("sequence-value-altered", "a sequence's value altered", definitions.sequence_value_altered),
    _definition("sequence-value-lost", "a sequence's value lost", definitions.sequence_value_lost),
    _definition("encoding-changed", "the encoding line changed", definitions.encoding_changed),
)

_LOST: tuple[TextKind, ...] = (
    _definition("primary-key-lost", "a primary key lost", definitions.lost("CONSTRAINT", containing=b" PRIMARY KEY ")),
    _definition("unique-key-lost", "a unique key lost", definitions.lost("CONSTRAINT", containing=b" UNIQUE ")),
    *(
        _definition(f"{kind.lower().replace(' ', '-')}-lost", f"{title} lost", definitions.lost(kind))
        for kind, title in definitions.LOSABLE.items()
    ),
)

_BY_THE_PRODUCER: tuple[TextKind, ...] = (
    TextKind(name="row-not-dumped", title="a row that pg_dump never wrote", strike=rows.row_lost,
             level="restore", base="rows", is_lie=True),
    TextKind(name="index-not-dumped", title="an index that pg_dump never wrote", strike=definitions.lost("INDEX"),
             level="full", base="definitions", is_lie=True),
    TextKind(name="key-not-dumped", title="a foreign key that pg_dump never wrote",
             strike=definitions.lost("FK CONSTRAINT"), level="full", base="definitions", is_lie=True, is_drawn=True),
    TextKind(name="trigger-not-dumped", title="a trigger that pg_dump never wrote",
             strike=definitions.lost("TRIGGER"), level="full", base="definitions", is_lie=True),
)  # fmt: skip

TEXT: tuple[TextKind, ...] = (
    _cut("cut-in-a-row", "text cut inside a row", cuts.cut_in_a_row),
    _cut("cut-behind-a-row", "text cut behind a row", cuts.cut_behind_a_row),
    _cut("cut-before-post-data", "text cut before keys and indexes", cuts.cut_before_post_data),
    _cut("closing-line-lost", "closing line lost", cuts.closing_line_lost),
    TextKind(name="row-shortened", title="a field of a row lost", strike=rows.row_shortened,
             level="restore", base="rows", needs_promise=False),
    _row("row-lost", "a row lost", rows.row_lost, "restore"),
    _row("row-doubled", "a row doubled", rows.row_doubled, "restore"),
    _row("block-emptied", "all rows of a table lost", rows.block_emptied, "restore"),
    _row("data-entry-lost", "a table's data lost with its entry", rows.data_lost, "restore"),
    _row("digit-changed", "a digit changed", rows.digit_changed),
    _row("values-swapped", "two rows' values swapped", rows.values_swapped),
    _row("null-and-empty", "NULL and the empty string confused", rows.null_and_empty),
    _row("blank-added", "a blank added", rows.blank_added),
    _row("large-object-altered", "a byte of a large object altered", rows.large_object_altered),
    _row("large-object-lost", "a large object's bytes lost", rows.large_object_lost),
    TextKind(name="statement-garbled", title="a statement garbled", strike=definitions.statement_garbled,
             level="restore", base="definitions", needs_promise=False),
    *_ALTERED,
    *_LOST,
    *_BY_THE_PRODUCER,
)  # fmt: skip
