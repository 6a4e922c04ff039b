"""What each kind of archive promises to bring back, and what it must not hold. Pure: inventories in, words out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from backup_lib.inventory import Entry, Inventory
from backup_lib.quantity import number_of
from verification.facts import is_of_database


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One kind's promise. What it does not bring is said in the record, so that nobody relies on it."""

    definitions: bool
    rows: bool  # and with them sequence values and large objects
    whole: bool  # every object of the database
    not_promised: tuple[str, ...] = ()  # sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Something in an archive that its kind must not hold, or lacks."""

    object: str
    expected: str
    actual: str


CONTRACTS: Mapping[str, Contract] = {
    "full": Contract(definitions=True, rows=True, whole=True),
    "schema": Contract(
        definitions=True, rows=False, whole=True, not_promised=("Any row: the archive holds definitions only.",)
    ),
    "data": Contract(
        definitions=False,
        rows=True,
        whole=False,
        not_promised=(
            "Any definition: the archive holds rows only. The drill made their tables from the definitions in the "
            "manifest; a recovery needs these as well, or a schema archive.",
            "Materialized views: an archive of rows does not fill them, so refresh them after a restore.",
        ),
    ),
    "config": Contract(
        definitions=False,
        rows=False,
        whole=False,
        not_promised=("That a service starts with these files: they were read back and compared, and not used.",),
    ),
    "tables": Contract(
        definitions=True,
        rows=True,
        whole=False,
        not_promised=("Anything but the chosen tables or schemas, with what belongs to them.",),
    ),
}
_OF_LARGE_OBJECTS = ("BLOB", "BLOB METADATA", "BLOBS")
_ABOUT = ("ACL", "COMMENT", "SECURITY LABEL")


def breaches(kind: str, dump: Inventory) -> list[Breach]:
    """What an archive that is said to be of this kind holds against its contract."""
    contract = CONTRACTS[kind]
    found = []
    if not contract.rows:
        found += [
            Breach(object=table.label, expected="its definition only", actual=number_of(table.rows, "row"))
            for table in dump.tables
        ]
        found += [
            Breach(object=sequence.label, expected="its definition only", actual="a value it stands at")
            for sequence in dump.sequences
        ]
        if dump.large_objects:
            count = number_of(len(dump.large_objects), "large object")
            found.append(Breach(object="large objects", expected="none", actual=count))
    if not contract.definitions:
        found += [
            Breach(object=entry.label, expected="rows only", actual="its definition")
            for entry in dump.entries
            if not (_is_data(entry) or is_of_database(entry))
        ]
    return found


def lacking(kind: str, dump: Inventory) -> list[Breach]:
    """What such an archive holds nothing of, although its kind promises it and the dump itself shows it is due."""
    contract = CONTRACTS[kind]
    has_tables = any(entry.type == "TABLE" for entry in dump.entries)
    if contract.definitions and not dump.entries:
        return [Breach(object="schema", expected="definitions", actual="none")]
    if contract.rows and not dump.tables and (has_tables or not contract.definitions):
        return [Breach(object="data", expected="the rows of its tables", actual="no table's rows")]
    return []


def without_keys(labels: Collection[str]) -> list[str]:
    """The sentence for foreign keys that were not made, if there are any."""
    if not labels:
        return []
    listed = ", ".join(sorted(labels))
    return [f"{listed}: the tables referred to are not in this archive, so the drill left them out."]


def _is_data(entry: Entry) -> bool:
    """Large objects are data, and pg_dump writes each with who owns it and who may read it."""
    return entry.type in _OF_LARGE_OBJECTS or (entry.type in _ABOUT and entry.name.startswith("LARGE OBJECT"))
