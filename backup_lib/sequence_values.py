"""Where the sequences stand, asked of the server: they are in no snapshot, so before pg_dump reads them and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from backup_lib.inventory import SequenceValue
from backup_lib.source import Connection

Values = Mapping[tuple[str, str], int | None]
"""Schema and name → the last value; None where it was not used yet."""

_VALUES = """
SELECT n.nspname, c.relname, pg_sequence_last_value(s.seqrelid)
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence = 'p' AND has_sequence_privilege(s.seqrelid, 'SELECT')
"""


def read_values(conn: Connection) -> Values:
    return {(schema, name): value for schema, name, value in conn.execute(_VALUES)}


def first_wrong(archived: Iterable[SequenceValue], before: Values, after: Values) -> SequenceValue | None:
    """One that nobody used meanwhile, and that stands elsewhere in the archive."""
    for sequence in archived:
        key = (sequence.schema or "", sequence.name)
        if key not in before or key not in after or before[key] != after[key]:
            continue
        if (sequence.last_value if sequence.is_called else None) != before[key]:
            return sequence
    return None
