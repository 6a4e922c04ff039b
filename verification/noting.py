"""Tells whoever expires and lists archives how a drill ended: an entry in the ledger beside the archive."""

from __future__ import annotations

from backup_lib.catalog import Found
from backup_lib.errors import BackupError
from backup_lib.ledger import Entry, note_drill
from verification.evidence.record import Record


def note(found: Found, record: Record, *, change: str = "") -> str:
    """Note a drill beside its archive; why that could not be done, or nothing.

    :param change: why what lies there is no longer what was drilled, see `Drill.change`.

    The verdict does not depend on it: an archive in a folder that cannot be written is as good as another.
    """
    entry = entry_of(record)
    if entry is None:
        return ""
    if not change:
        try:
            note_drill(found.store, found.name, entry)
        except BackupError as exc:
            change = exc.message
    return (
        f"the verdict on {found.name} was not noted beside it, so prune does not count it: {change}" if change else ""
    )


def entry_of(record: Record) -> Entry | None:
    """A drill's entry; None when it did not get to read the file, so that it is about none."""
    if record.archive.sha256 is None or record.archive.size_bytes is None:
        return None
    causes = {finding.cause for finding in record.findings if finding.status in ("fault", "gap") and finding.cause}
    if any(check.status == "could_not_verify" for check in record.checks):
        causes.add("environment")  # something was not compared, whatever else was found
    return Entry(
        drill_id=record.drill_id,
        verdict=record.verdict,
        level=record.level,
        causes=tuple(sorted(causes)),
        finished_at=record.finished_at,
        sha256=record.archive.sha256,
        size_bytes=record.archive.size_bytes,
        pgdrill=record.tools["pgdrill"],
    )
