"""Damage to definitions: one object of one type lost, altered or given to another owner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from random import Random

from verification.damage import Damage, Edit
from verification.damage.dump_map import DumpMap, Place

Strike = Callable[[DumpMap, Random], Damage | None]
Put = bytes | Callable[[re.Match[bytes]], bytes]

# Whatever of these is left out of an archive is missing in what it restores to.
LOSABLE: dict[str, str] = {
    "AGGREGATE": "an aggregate",
    "CAST": "a cast",
    "CHECK CONSTRAINT": "a check that was added later",
    "COLLATION": "a collation",
    "COMMENT": "a comment",
    "ACL": "a grant",
    "DEFAULT ACL": "default privileges",
    "DEFAULT": "a column's default that stands by itself",
    "DOMAIN": "a domain",
    "EVENT TRIGGER": "an event trigger",
    "EXTENSION": "an extension",
    "FK CONSTRAINT": "a foreign key",
    "FOREIGN TABLE": "a foreign table",
    "FUNCTION": "a function",
    "INDEX": "an index",
    "INDEX ATTACH": "an index's place in its parent",
    "MATERIALIZED VIEW": "a materialized view",
    "OPERATOR": "an operator",
    "POLICY": "a policy",
    "PROCEDURE": "a procedure",
    "PUBLICATION": "a publication",
    "ROW SECURITY": "row security being enabled",
    "RULE": "a rule",
    "SEQUENCE": "a sequence",
    "SEQUENCE OWNED BY": "a sequence's owner column",
    "STATISTICS": "extended statistics",
    "TABLE": "a table",
    "TABLE ATTACH": "a partition's place in its table",
    "TEXT SEARCH CONFIGURATION": "a text search configuration",
    "TRIGGER": "a trigger",
    "TYPE": "a type",
    "VIEW": "a view",
}
_OWNED = ("FUNCTION", "SCHEMA", "SEQUENCE", "TABLE", "TYPE", "VIEW")
_OTHER_OWNER = b"pg_monitor"  # every server has it

_PLAIN_INDEX = re.compile(rb"( USING btree \((?:\"[^\"]+\"|\w+)(?:, (?:\"[^\"]+\"|\w+))*)\)")
_PLAIN_KEY = re.compile(rb"( REFERENCES (?:[^;()\"']|\"[^\"]*\")+\([^()]*\))(?= |;)(?! MATCH| ON )")
_CHECK_LINE = re.compile(rb",\n    CONSTRAINT (?:\w+|\"[^\"]+\") CHECK \(([^\n]*)\)(?=,?\n)")
_CHECK = re.compile(rb" CHECK \(")
_DEFAULT = re.compile(rb" DEFAULT [^,\n]+?(?= NOT NULL|,?\n)")
_NOT_NULL = re.compile(rb"^    (\w+) [^\n]*?( NOT NULL)(?=,?\n)", re.MULTILINE)
_INTEGER = re.compile(rb"(?<=[\w\"] )integer(?= |,?\n)")
_TRIGGER_CALL = re.compile(rb" EXECUTE (?:FUNCTION|PROCEDURE) (?:[^;()\"']|\"[^\"]*\")+\((?=\);)")
_VIEW_END = re.compile(rb"^CREATE VIEW (?:[^;']|'[^']*')*?(?=;\n)", re.MULTILINE)
_NO_VIEW_TO_ALTER = re.compile(
    rb"\bLIMIT\b|\bFETCH\b|WITH [A-Z]* ?CHECK OPTION|AS\s+SELECT\s+NULL::|\bFOR (?:UPDATE|SHARE)"
)
_BODY = re.compile(rb"AS (\$\w*\$)")
_TURNED = re.compile(rb"<=|>=|<>|(?<![<>=:!])=(?!>)|\+|\bNEW\b|\bOLD\b|\d")
_TURNS = {b"<=": b">=", b">=": b"<=", b"<>": b"=", b"=": b"<>", b"+": b"-", b"NEW": b"OLD", b"OLD": b"NEW"}
_GRANT = re.compile(rb"(?<=^GRANT )(?:SELECT|INSERT|UPDATE|DELETE|USAGE|EXECUTE|CREATE)(?= ON )", re.MULTILINE)
_COMMENT_END = re.compile(rb"(?=';\s*\Z)")
_OWNER = re.compile(rb"(?<= OWNER TO )(?:[^;\"]+|\"[^\"]+\")(?=;)")
_LABELS_END = re.compile(rb"(?<=')(?=\n\);)")
_INCREMENT = re.compile(rb"(?<=INCREMENT BY )-?\d+")
_VALUE = re.compile(rb"(?<=, )(-?\d+)(?=, (?:true|false)\);)")
_FIRST_WORD = re.compile(rb"(?<=\A--\n\n)(?:CREATE|ALTER)\b")


def lost(*types: str, containing: bytes = b"") -> Strike:
    """Leave out one entry of these types, its comment with it."""

    def strike(dump: DumpMap, rng: Random) -> Damage | None:
        for place in _shuffled((p for p in dump.of(*types) if containing in p.text), rng):
            return _struck(place, Edit(start=place.start, end=place.end))
        return None

    return strike


def altered(
    types: Iterable[str], pattern: re.Pattern[bytes], put: Put, *, unless: re.Pattern[bytes] | None = None
) -> Strike:
    """Put something else where a pattern matches in one entry's text."""
    kinds = tuple(types)

    def strike(dump: DumpMap, rng: Random) -> Damage | None:
        for place in _shuffled(dump.of(*kinds), rng):
            if unless is not None and unless.search(place.text):
                continue
            found = list(pattern.finditer(place.text))
            if found:
                return _struck(place, _edit(place, rng.choice(found), put))
        return None

    return strike


def _edit(place: Place, found: re.Match[bytes], put: Put) -> Edit:
    new = put if isinstance(put, bytes) else put(found)
    return Edit(start=place.body + found.start(), end=place.body + found.end(), put=new)


index_altered = altered(["INDEX"], _PLAIN_INDEX, lambda found: found[1] + b" DESC)")
foreign_key_altered = altered(["FK CONSTRAINT"], _PLAIN_KEY, lambda found: found[1] + b" ON DELETE CASCADE")
check_altered = altered(["TABLE", "DOMAIN", "CHECK CONSTRAINT"], _CHECK, b" CHECK (true OR ")
default_lost = altered(["TABLE"], _DEFAULT, b"")
column_type_altered = altered(["TABLE"], _INTEGER, b"bigint", unless=re.compile(rb"\bPARTITION BY\b|\bINHERITS\b"))
trigger_altered = altered(["TRIGGER"], _TRIGGER_CALL, lambda found: found[0] + b"'pgdrill'")
view_altered = altered(["VIEW"], _VIEW_END, lambda found: found[0] + b"\n LIMIT 7", unless=_NO_VIEW_TO_ALTER)
policy_altered = altered(["POLICY"], re.compile(rb" USING \("), b" USING (true OR ")
grant_altered = altered(["ACL"], _GRANT, b"ALL")
comment_altered = altered(["COMMENT"], _COMMENT_END, b"~")
owner_altered = altered(_OWNED, _OWNER, _OTHER_OWNER, unless=re.compile(rb"OWNER TO " + _OTHER_OWNER))
enum_label_added = altered(["TYPE"], _LABELS_END, b",\n    'pgdrill'", unless=re.compile(rb"AS RANGE|AS \("))
sequence_altered = altered(["SEQUENCE"], _INCREMENT, lambda found: b"%d" % (int(found[0]) + 1 or 2))
statement_garbled = altered(
    ["TABLE", "INDEX", "CONSTRAINT", "VIEW", "FUNCTION", "SEQUENCE"], _FIRST_WORD, lambda found: found[0][:2] + b"#"
)


def sequence_value_altered(dump: DumpMap, rng: Random) -> Damage | None:
    for place in _shuffled(dump.of("SEQUENCE SET"), rng):
        if found := _VALUE.search(place.text):
            edit = _edit(place, found, lambda value: b"%d" % (int(value[0]) + 1))
            return Damage(object=place.label, names=(place.table,), edits=(edit,))
    return None


def sequence_value_lost(dump: DumpMap, rng: Random) -> Damage | None:
    for place in _shuffled(dump.of("SEQUENCE SET"), rng):
        edit = Edit(start=place.start, end=place.end)
        return Damage(object=place.label, names=(place.table,), edits=(edit,))
    return None


def check_lost(dump: DumpMap, rng: Random) -> Damage | None:
    """A check that stands in its table."""
    for place in _shuffled(dump.of("TABLE"), rng):
        for found in _CHECK_LINE.finditer(place.text):
            if found[1].count(b"(") == found[1].count(b")"):
                return _struck(place, _edit(place, found, b""))
    return None


def not_null_lost(dump: DumpMap, rng: Random) -> Damage | None:
    """Of a column in no primary key, which would bring it back, and of a table that inherits it from none."""
    keys = b"".join(place.text for place in dump.of("CONSTRAINT") if b" PRIMARY KEY " in place.text)
    identities = b"".join(p.text for p in dump.of("SEQUENCE", "TABLE ATTACH") if b"ADD GENERATED" in p.text)
    for place in _shuffled(dump.of("TABLE"), rng):
        if b"INHERITS" in place.text or b"PARTITION BY" in place.text:
            continue
        for found in _NOT_NULL.finditer(place.text):
            word = re.compile(rb"\b" + re.escape(found[1]) + rb"\b")
            if not word.search(keys) and not word.search(identities):
                at = place.body + found.start(2)
                return _struck(place, Edit(start=at, end=at + len(found[2])))
    return None


def function_altered(dump: DumpMap, rng: Random) -> Damage | None:
    """One operator, row or digit of a body turned into another; where there is none, a blank added."""
    for place in _shuffled(dump.of("FUNCTION", "PROCEDURE"), rng):
        quote = _BODY.search(place.text)
        if quote is None:
            continue
        end = place.text.find(quote[1], quote.end())
        found = list(_TURNED.finditer(place.text, quote.end(), end))
        if found:
            return _struck(place, _edit(place, rng.choice(found), _turn))
        at = place.body + quote.end()
        return _struck(place, Edit(start=at, end=at, put=b" "))
    return None


def _turn(found: re.Match[bytes]) -> bytes:
    return _TURNS.get(found[0]) or b"%d" % ((int(found[0]) + 1) % 10)


def encoding_changed(dump: DumpMap, _rng: Random) -> Damage | None:
    """The line that says what the bytes mean; they stay."""
    found = re.search(rb"(?<=^SET client_encoding = ')[^'\n]+(?=';)", dump.preamble, re.MULTILINE)
    if found is None or found[0] not in (b"UTF8", b"LATIN1"):
        return None
    put = b"LATIN1" if found[0] == b"UTF8" else b"UTF8"
    edit = Edit(start=found.start(), end=found.end(), put=put)
    return Damage(object="SET client_encoding", names=("client_encoding",), edits=(edit,))


def _shuffled(places: Iterable[Place], rng: Random) -> Iterator[Place]:
    found = list(places)
    rng.shuffle(found)
    yield from found


def _struck(place: Place, edit: Edit) -> Damage:
    return Damage(object=place.label, names=(place.label,), edits=(edit,))
