"""Is every configuration file in the archive, and is it what it was?"""

from __future__ import annotations

from backup_lib.manifest import FileFacts
from verification.checks.completeness import NAME
from verification.facts import Facts
from verification.finding import Finding, fault, match
from verification.findings import not_reached

_WHY = "who recovers by it gets other settings than the service ran with, or none"
_HINT = "take another archive or copy of it: pgdrill list shows them"


def check_files(facts: Facts) -> list[Finding]:
    """The manifest's list of files against what was read back, both ways."""
    archived, manifest = facts.archived, facts.manifest
    if archived.files is None and archived.damage is not None:
        return [_fault("archive", "a tar file that can be read to its end", archived.damage)]
    if archived.files is None:
        return [not_reached(NAME, facts)]
    if manifest is None:
        return [_unpromised(len(archived.files))]
    promised = {one.path: one for one in manifest.files}
    found = {one.path: one for one in archived.files}
    if not promised:
        return [_fault("archive", "some files", "none, as its manifest says")]
    bad = [
        _fault(path, _shown(promised.get(path)), _shown(found.get(path)))
        for path in sorted(promised.keys() | found.keys())
        if promised.get(path) != found.get(path)
    ]
    if len(archived.files) != len(found):
        bad.append(_fault("archive", "each path once", "some of them twice"))
    kept = sorted(path for path in promised if promised[path] == found.get(path))
    return bad + [match(NAME, path, _shown(promised[path])) for path in kept]


def _shown(one: FileFacts | None) -> str:
    if one is None:
        return "none"
    what = f"{one.kind}, mode {one.mode}"
    if one.target is not None:
        return f"{what}, to {one.target}"
    return f"{what}, {one.size_bytes} bytes, SHA-256 {one.sha256}" if one.sha256 else what


def _unpromised(count: int) -> Finding:
    return Finding(
        check=NAME,
        object="archive",
        status="gap",
        cause="archive",
        expected="a manifest that lists the files",
        actual=f"none; {count} files, folders and links can be read",
        why="nothing tells what must be in it: its backup was interrupted, or its manifest was taken away",
        hint="back the files up again: pgdrill backup --kind config",
    )


def _fault(subject: str, expected: str, actual: str) -> Finding:
    return fault(NAME, subject, expected, actual, why=_WHY, hint=_HINT)
