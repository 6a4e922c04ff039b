"""Does the archive say an object in the very words the source's catalog had for it?

A restored server may tell a definition in other words than the source did. pg_dump writes what the source's own
functions say (pg_get_viewdef, pg_get_constraintdef, pg_get_expr …), so those words, asked of the source without
pg_dump, must stand in the archive; whether the restored object is what the archive says, the referee decides.
"""

from __future__ import annotations

import re
from functools import cached_property

from backup_lib.sql_lexer import Rules
from backup_lib.wording import canonical, skeleton
from verification.facts import Archived

# What the trait says beside the server's words.
_BESIDE = r"(?: STORAGE \w| COMPRESSION \w+| STATISTICS \d+| (?:FOREIGN )?OPTIONS .*)*"
_FRAMES = {
    "columns": re.compile(rf"(.*?(?:DEFAULT|GENERATED \(\w\) AS) )(.*?)({_BESIDE})", re.DOTALL),
    "definition": re.compile(r"()(.*?)((?: ENABLED \w| CLUSTERED| REPLICA IDENTITY| -?\d+)*)", re.DOTALL),
    "body": re.compile(r"()(.*)()", re.DOTALL),
}
# What pg_dump writes behind such words.
_ENDS = r";|,\n|\n\t|\n\)|\n +WITH | NOT NULL[,\n;]| STORED| WITH CHECK \(|\) RETURNS |\nEND"
_OF_WORDS = (
    "view ",
    "materialized view ",
    "index ",
    "rule ",
    "trigger ",
    "table constraint ",
    "domain constraint ",
    "statistics object ",
)
_FUNCTION = re.compile(r"(\w )(.*?)( RETURNS .*)", re.DOTALL)  # its arguments, with their defaults
_BESIDE_DEFAULTS = {
    "function ": _FUNCTION, "procedure ": _FUNCTION, "type ": re.compile(r"(.*?DEFAULT )(.*)()", re.DOTALL),
}  # fmt: skip
_POLICY = re.compile(r" USING (?=\()| WITH CHECK (?=\()")


class ArchivedWords:
    """The definitions of one archive, searched for what the source said."""

    def __init__(self, archived: Archived) -> None:
        self._archived = archived

    def hold(self, identity: str, trait: str, before: str, after: str) -> bool:
        """Whether the archive says what the source said, where the restored server says something else.

        :param before, after: the trait's text at the source and in the restored database, which differ.
        """
        pieces = _pieces(identity, trait, before, after)
        if not pieces:
            return False
        bare = _name(identity)
        own = [text for name, text in self._texts if name in bare]
        # What is inherited stands with the parent alone.
        return all(
            any(_stands_in(mine, text) for text in own)
            or (skeleton(mine) == skeleton(other) and _stands_in(mine, self._whole))
            for mine, other in pieces
        )

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """Each entry's bare name with its bare text."""
        inventory = self._archived.inventory
        rules = Rules(encoding=inventory.encoding if inventory is not None else None)
        return [
            (_name(entry.name.partition("(")[0]), _bare(rules.decode(text)))
            for entry, text in self._archived.definitions
        ]

    @cached_property
    def _whole(self) -> str:
        return "\n".join(text for _, text in self._texts)


def _stands_in(words: str, text: str) -> bool:
    """Whole: a query without its WHERE, or a key without its ON DELETE, is another one."""
    return re.search(rf"(?<![\w.]){re.escape(_bare(words))}(?={_ENDS})", text) is not None


def _name(text: str) -> str:
    """Bare, and on one line, as an entry's comment has it."""
    return re.sub(r"[\r\n]", " ", _bare(text))


def _bare(text: str) -> str:
    """Without quotes around names, which a setting of the database may put around all of them."""
    return text.replace('"', "")


def _pieces(identity: str, trait: str, before: str, after: str) -> list[tuple[str, str]]:
    """The words of both where they differ; empty where something else differs as well."""
    if identity.startswith("policy "):
        (frame, *old), (other_frame, *new) = _POLICY.split(before), _POLICY.split(after)
        return [pair for pair in zip(old, new, strict=False) if frame == other_frame and len(old) == len(new)]
    pattern = _FRAMES.get(trait)
    if trait == "definition" and not identity.startswith(_OF_WORDS):
        pattern = next((frame for kind, frame in _BESIDE_DEFAULTS.items() if identity.startswith(kind)), None)
    old, new = (before.splitlines(), after.splitlines()) if trait == "columns" else ([before], [after])
    if pattern is None or len(old) != len(new):
        return []
    pieces = []
    for mine, other in zip(old, new, strict=True):
        if canonical(mine) == canonical(other):
            continue
        one, two = pattern.fullmatch(mine), pattern.fullmatch(other)
        if one is None or two is None or (one[1], one[3]) != (two[1], two[3]):
            return []
        pieces.append((one[2].strip().rstrip(";"), two[2].strip().rstrip(";")))
    return pieces
