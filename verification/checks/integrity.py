"""Are the bytes what was written?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from shlex import quote

from backup_lib.manifest import ArchiveFacts
from verification.facts import Archived, Facts
from verification.finding import Finding, fault, match
from verification.findings import not_reached, some
from verification.identity import Mismatch, mismatches

NAME = "integrity"
_WHY = "an altered or shortened archive restores something else than was backed up, or nothing"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HINT = "take another copy or archive: pgdrill list shows them"


def check_integrity(facts: Facts) -> list[Finding]:
    archived = facts.archived
    found: list[Finding] = []
    if archived.damage is not None:
        found.append(_fault("archive", "readable to its last byte", archived.damage))
    if facts.manifest_damage is not None:
        found.append(
            fault(
                NAME,
                "manifest",
                "the manifest as it was written",
                facts.manifest_damage,
                why="without its manifest an archive is only compared with itself",
                hint="restore the manifest from another copy, or move it away to verify without one",
            )
        )
    promised = facts.manifest.archive if facts.manifest is not None else None
    if promised is not None and archived.sha256 is not None and not _is_encrypted_anew(promised, archived):
        if archived.size_bytes != promised.size_bytes:
            found.append(_fault("size", f"{promised.size_bytes} bytes", f"{archived.size_bytes} bytes"))
        if archived.sha256 != promised.sha256:
            found.append(_fault("SHA-256", promised.sha256, archived.sha256))
        if found and promised.name != facts.name:
            found.append(_anothers(facts))
    if not found and facts.manifest is not None:
        found = [_misnamed(mismatch) for mismatch in mismatches(facts.name, facts.manifest)]
    if found:
        return found
    if archived.sha256 is None:  # the drill did not get as far as reading it
        return [not_reached(NAME, facts)]
    found.append(match(NAME, "archive", f"{archived.size_bytes} bytes, SHA-256 {archived.sha256}"))
    if not archived.is_authenticated and not facts.is_as_promised:
        found.append(_unauthenticated(archived.encryption or ""))
    if promised is not None and archived.sha256 != promised.sha256:
        found.append(_encrypted_anew(promised, archived))
    if facts.wide:
        found.append(_wide(facts.wide))
    return found


def _wide(paths: Sequence[str]) -> Finding:
    return Finding(
        check=NAME,
        object="file modes",
        status="note",
        cause="environment",
        expected="files that their owner alone may read",
        actual=f"others may read or write {some(paths)}",
        why="an archive is all of the data, and a manifest names all that is in it",
        hint=f"`chmod go= {' '.join(map(quote, paths))}`",
    )


def _unauthenticated(encryption: str) -> Finding:
    return Finding(
        check=NAME,
        object="encryption",
        status="note",
        expected="encryption that shows when somebody altered its bytes",
        actual=encryption,
        why="altered bytes decrypt to other bytes, and the padding at its end is right for one wrong key in 256",
        hint="encrypt with age, which is authenticated: `pgdrill backup --encrypt`, and `pgdrill rewrap` for this one",
    )


def _is_encrypted_anew(promised: ArchiveFacts, archived: Archived) -> bool:
    """Other bytes, because somebody changed the key: what is inside is authentic and what was promised."""
    promise = promised.encryption
    return (
        promise is not None
        and archived.damage is None
        and archived.is_authenticated
        and archived.inner_sha256 == promise.plain_sha256
        and _DIGEST.fullmatch(promised.sha256) is not None  # else the manifest is what was altered
    )


def _encrypted_anew(promised: ArchiveFacts, archived: Archived) -> Finding:
    return Finding(
        check=NAME,
        object="SHA-256",
        status="note",
        expected=promised.sha256,
        actual=f"{archived.sha256}; what is encrypted is authentic, and what was promised",
        why="somebody encrypted it anew without pgdrill, or altered this digest in the manifest",
        hint="`pgdrill rewrap` changes the key and keeps the manifest true",
    )


def _misnamed(mismatch: Mismatch) -> Finding:
    return fault(
        NAME,
        f"{mismatch.object} in the name",
        f"{mismatch.said}, as the archive's name says",
        f"{mismatch.known}, as its manifest says",
        why="who recovers goes by the name, and would bring back other data than it says",
        hint="give archive and manifest the name that the manifest holds, or take the archive you meant",
    )


def _anothers(facts: Facts) -> Finding:
    """An archive may be renamed together with its manifest; this one's bytes are not its manifest's, either."""
    manifest = facts.manifest
    of = manifest.archive.name if manifest is not None and manifest.archive is not None else "nothing"
    taken = f", taken {manifest.source.snapshot_at:%Y-%m-%d %H:%M} UTC" if manifest is not None else ""
    database = manifest.source.database if manifest is not None else ""
    return fault(
        NAME,
        "manifest",
        f"the manifest of {facts.name}",
        f"the manifest of {of}, of the database {database}{taken}",
        why="an archive and a manifest that do not belong together prove nothing of one another",
        hint=f"look for {of}, or put this archive's own manifest beside it",
    )


def _fault(subject: str, expected: str, actual: str) -> Finding:
    return fault(NAME, subject, expected, actual, why=_WHY, hint=_HINT)
