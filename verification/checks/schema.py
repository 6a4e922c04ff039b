"""Is every definition back, and does it mean what it meant?"""

from __future__ import annotations

import difflib

from backup_lib.inventory import Entry, Inventory, major_of
from backup_lib.quantity import number_of
from verification.checks.restore import lacked
from verification.facts import OF_DATABASE, Facts, Restored, pair_entries
from verification.finding import Finding, fault, match
from verification.findings import excused, not_reached
from verification.scope import scope_of

NAME = "schema"
_DIFF_LINES = 40


def check_schema(facts: Facts) -> list[Finding]:
    """Promised against archived by text; archived against restored by text, else by the referee."""
    dump, restored = facts.archived.inventory, facts.restored
    if dump is None or restored is None:
        return [not_reached(NAME, facts)]
    found = _promised(facts, restored) + _brought_back(facts, restored)
    if not found and dump.entries:
        return [match(NAME, entry.label, entry.sha256) for entry in dump.entries]
    if not found and not dump.entries:
        return [match(NAME, "database", "no definition promised, none archived")]
    equal = max(0, len(dump.entries) - len(found))
    return found + [match(NAME, number_of(equal, "entry", "entries"), "as archived")] * bool(equal)


def _promised(facts: Facts, restored: Restored) -> list[Finding]:
    """What the manifest promises and the archive does not hold, or holds otherwise."""
    promised, dump = facts.promised, facts.archived.inventory
    if promised is None or dump is None:
        return []
    scope = scope_of(facts.expect, facts.manifest, dump)
    if scope.said_by == "--expect" and scope.kind in ("tables", "data"):
        return []
    wanted = [e for e in promised.entries if e.type not in OF_DATABASE]
    held = [e for e in dump.entries if e.type not in OF_DATABASE]
    pairs = pair_entries(_unplaced(wanted), _unplaced(held))
    found = [_fault(wanted[w].label, "in the archive, as promised", "not in the archive") for w in pairs.missing]
    found += [_fault(held[h].label, "not promised", "in the archive") for h in pairs.extra]
    if not pairs.changed:
        return found
    # Another pg_dump wrote the promise, or with other options: then what came back decides.
    back = {(e.type, e.schema, e.name, e.owner, e.sha256) for e in restored.inventory.entries}
    same_writer = major_of(promised.dump_version) == major_of(dump.dump_version)
    for w, h in pairs.changed:
        entry = wanted[w]
        if (entry.type, entry.schema, entry.name, entry.owner, entry.sha256) in back:
            continue
        if entry.owner != held[h].owner:
            found.append(_fault(entry.label, f"owner {entry.owner}", f"owner {held[h].owner}"))
        elif same_writer:
            found.append(_fault(entry.label, f"SHA-256 {entry.sha256}", f"SHA-256 {held[h].sha256} in the archive"))
        else:
            found.append(
                _gap(
                    entry.label,
                    f"as pg_dump {promised.dump_version} wrote it at the source",
                    f"another text, by pg_dump {dump.dump_version}",
                    "the texts of two pg_dump versions cannot be compared",
                    f"record the manifest with pg_dump {dump.dump_version}",
                )
            )
    return found


def _brought_back(facts: Facts, restored: Restored) -> list[Finding]:
    dump = facts.archived.inventory
    if dump is None:
        return []
    pairs = pair_entries(dump.entries, restored.inventory.entries)
    made = set(facts.made_by_drill)
    without = lacked(facts)
    found = []
    for entry in (dump.entries[a] for a in pairs.missing):
        if entry.label in facts.outward_keys or _never_written(restored, dump, entry):
            continue
        finding = _fault(entry.label, "restored, as archived", "not there after the restore")
        found.append(excused(finding) if entry.label in without else finding)
    found += [
        _fault(entry.label, "not in the archive", "there after the restore")
        for entry in (restored.inventory.entries[b] for b in pairs.extra)
        if entry.label not in made and not _implied(facts, entry) and not _labelled_anew(restored, dump, entry)
    ]
    for a, b in pairs.changed:
        reworded = _worded_anew(facts, restored, dump.entries[a], b)
        if reworded is not None:
            found.append(reworded)
    return found


def _never_written(restored: Restored, dump: Inventory, entry: Entry) -> bool:
    """Whether this sandbox's pg_dump does not write such an entry, not of the referee either, as others do.

    What the server refused is not in the referee, but is an error of the restore already.
    """
    if restored.referee is None or not restored.is_by_another_pg_dump(dump):
        return False
    key = (entry.database, entry.type, entry.schema, entry.name)
    return all((e.database, e.type, e.schema, e.name) != key for e in restored.referee.entries)


def _labelled_anew(restored: Restored, dump: Inventory, entry: Entry) -> bool:
    """Whether this sandbox's pg_dump writes just this entry of the referee too, whatever another one called it.

    Labels quote what is a keyword by now: `TABLE json_table` is `TABLE "json_table"` to a newer pg_dump.
    """
    if restored.referee is None or not restored.is_by_another_pg_dump(dump):
        return False
    return any(
        (e.database, e.type, e.schema, e.name, e.owner, e.sha256)
        == (entry.database, entry.type, entry.schema, entry.name, entry.owner, entry.sha256)
        for e in restored.referee.entries
    )


def _worded_anew(facts: Facts, restored: Restored, archived: Entry, place: int) -> Finding | None:
    """None if this server words the archive's own definition just so."""
    back = restored.inventory.entries[place]
    if archived.owner != back.owner:
        return _fault(archived.label, f"owner {archived.owner}", f"owner {back.owner}")
    if archived.type in OF_DATABASE and facts.is_cross_major:
        return None  # it says the locale in other words; the environment check compares that
    if restored.referee is None or restored.referee_definitions is None:
        return _gap(
            archived.label,
            "the same text, or a referee's word on it",
            "another text",
            "only the server can say whether two wordings mean the same",
            "drill again: the referee database could not be built",
        )
    twins = [
        (n, e)
        for n, e in enumerate(restored.referee.entries)
        if (e.database, e.type, e.schema, e.name) == (back.database, back.type, back.schema, back.name)
    ]
    if any(e.sha256 == back.sha256 and e.owner == back.owner for _, e in twins):
        return None
    expected = restored.referee_definitions.text(twins[0][0]) if twins else b""
    patch = _patch(expected, restored.definitions.text(place))
    return _fault(archived.label, "what this server makes of the archived definition", patch)


def _patch(expected: bytes, actual: bytes) -> str:
    """A unified diff of two definitions; they hold no rows."""
    lines = list(
        difflib.unified_diff(
            expected.decode("utf-8", "replace").splitlines(),
            actual.decode("utf-8", "replace").splitlines(),
            "archived",
            "restored",
            n=1,
            lineterm="",
        )
    )
    shown = lines[:_DIFF_LINES]
    return "\n".join(shown if len(lines) <= _DIFF_LINES else [*shown, f"… {len(lines) - _DIFF_LINES} more lines"])


def _implied(facts: Facts, entry: Entry) -> bool:
    """What a newer server adds by itself, and what the drill's own database brings along."""
    if entry.type in OF_DATABASE:
        return True
    if entry.type == "COMMENT" and entry.name.startswith("EXTENSION "):
        return True  # CREATE EXTENSION comments on it; with --no-comments the archive does not
    return facts.is_cross_major and entry.name == "SCHEMA public" and entry.type in ("ACL", "COMMENT")


def _unplaced(entries: list[Entry]) -> list[Entry]:
    """Without the database they stand in: a promise is of one, whatever the archive calls it."""
    return [
        Entry(type=e.type, schema=e.schema, name=e.name, owner=e.owner, sha256=e.sha256, database=None) for e in entries
    ]


def _fault(label: str, expected: str, actual: str) -> Finding:
    return fault(
        NAME,
        label,
        expected,
        actual,
        why="an object lost or altered changes what the restored database accepts, shows and does",
        hint="take another backup with `pgdrill backup`, and find out what wrote or changed this archive",
    )


def _gap(label: str, expected: str, actual: str, why: str, hint: str) -> Finding:
    return Finding(
        check=NAME,
        object=label,
        status="gap",
        cause="environment",
        expected=expected,
        actual=actual,
        why=why,
        hint=hint,
    )
