"""The negative control: copies of this very archive are damaged, and the drill that verified it must see each.

A check that cannot fail proves nothing. So each copy carries one seeded damage, and goes through the same
restore and the same checks as the archive did. Undamaged copies go the same way, first and last: they must raise
nothing, else what the damaged ones raise would say nothing either.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import LifoQueue
from random import Random
from typing import Protocol

from backup_lib.catalog import Found, list_archives, resolve
from backup_lib.dump_text import detect_archive
from backup_lib.errors import BackupError, StoreError
from backup_lib.inventory import major_of
from backup_lib.run_folder import run_folder
from verification.checks import LEVELS, Level
from verification.copies import (
    Copy,
    Text,
    another_archive,
    copy_of_bytes,
    copy_of_text,
    text_of_definitions,
    whole_text,
)
from verification.damage.kinds import STORED, TEXT, StoredKind, TextKind
from verification.drill import NEWEST_MAJOR, Drill, Plan
from verification.evidence.record import ControlRecord, ControlStatus
from verification.finding import Finding
from verification.sandbox.choice import Chosen, open_sandbox
from verification.scope import scope_of
from verification.shared_server import SharedServer

NAME = "negative-control"
ENOUGH = 20  # kinds of damage; fewer are said
DRAWN = 5  # of the kinds that each archive tries a few of
SIDE_BY_SIDE = 2  # copies that are drilled at the same time, where they hold no rows
_LEASE_S = 24 * 3600.0
_UNDAMAGED = "undamaged"
_OF_BYTES = ("archive", "size", "SHA-256", "dump")

Progress = Callable[[str], object]


class Verify(Protocol):
    """Drills one copy: its findings, matches left out."""

    def __call__(self, copy: Copy, level: Level) -> tuple[Finding, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What became of every kind of damage."""

    controls: tuple[ControlRecord, ...]
    seed: str
    seconds: float
    skipped: str = ""  # why nothing was tried
    obstacle: str = ""  # why it could not be carried out


def prove(
    drill: Drill, *, verify: Verify | None = None, progress: Progress = lambda _: None, all_kinds: bool = False
) -> Proof:
    """Damage copies of the drill's archive and drill them; to be called when the archive itself was judged.

    :param verify: drills a copy; default the real drill, in a server all copies share.
    :param all_kinds: try every kind that fits, not only those drawn for this archive.
    :raises BackupError, OSError: when copies cannot be made.
    """
    begun = time.monotonic()
    seed = (drill.facts.archived.sha256 or "")[:16]
    if why := _hindrance(drill):
        return Proof(controls=(), seed=seed, seconds=0.0, skipped=why)
    with ExitStack() as cleanup:
        if verify is None:
            servers = [cleanup.enter_context(_server_for(drill)) for _ in range(SIDE_BY_SIDE)]
            verify = _DrillOfCopy(drill.plan, servers)
        parent = cleanup.enter_context(run_folder(Path(tempfile.gettempdir()), lease_s=_LEASE_S))
        folder = parent / "copies"
        folder.mkdir(mode=0o700)
        run = _Run(drill, folder, seed, verify, progress, all_kinds=all_kinds)
        controls = tuple(run.controls())
    return Proof(controls=controls, seed=seed, seconds=time.monotonic() - begun)


def check_controls(proof: Proof) -> list[Finding]:
    """What the proof says of the drill: every damage must have been caught, and no healthy copy blamed."""
    if proof.obstacle:
        return [_finding("archive", "gap", "copies of it damaged, and each caught", proof.obstacle)]
    if proof.skipped:
        return [_finding("archive", "note", "copies of it damaged, and each caught", f"not tried: {proof.skipped}")]
    found = [_judge(control) for control in proof.controls if control.status != "not_applicable"]
    return found or [_finding("archive", "gap", "some kind of damage to try", "none fits this archive")]


def too_few(proof: Proof | None) -> tuple[str, ...]:
    """For the record: that the archive offered a place for few kinds of damage only, or none was tried."""
    if proof is None:
        return ()
    if proof.skipped:
        return (f"That damage would be seen: the negative control was not carried out, since {proof.skipped}.",)
    tried = {c.kind for c in proof.controls if c.status in ("caught", "missed")}
    if len(tried) >= ENOUGH:
        return ()
    return (
        f"That any damage would be seen: {len(tried)} kinds of it could be tried on this archive, fewer than {ENOUGH}; "
        "its controls say why.",
    )


def _judge(control: ControlRecord) -> Finding:
    subject = f"{control.title}: {control.object}"
    if control.status == "missed":
        return _finding(subject, "fault", "a finding", "none: the drill calls this damaged copy sound")
    if control.status == "not_tried":
        return _finding(subject, "gap", "this copy drilled", control.reason)
    if control.status == "false_alarm":
        return _finding(subject, "gap", "no finding", f"{control.check}: {control.finding}")
    if control.status == "caught" and not control.named:
        return _finding(subject, "note", "a finding that names it", f"{control.check}: {control.finding}")
    return _finding(subject, "match", "", f"{control.status} by {control.check}" if control.check else control.status)


def _finding(subject: str, status: str, expected: str, actual: str) -> Finding:
    return Finding(
        check=NAME,
        object=subject,
        status=status,  # type: ignore[arg-type]
        cause="environment" if status in ("fault", "gap") else None,
        expected=expected,
        actual=actual,
        why="a check that cannot fail proves nothing, whatever it says of this archive" if status != "match" else "",
        hint="this is a fault of pgdrill: report it with the record" if status in ("fault", "gap") else "",
    )


def _hindrance(drill: Drill) -> str:
    """Why there is nothing to prove; empty if there is."""
    drill.examine()
    if drill.facts.obstacle is not None:
        return f"the drill itself did not end ({drill.facts.obstacle})"
    if any(finding.status == "fault" for judged in drill.judge_all() for finding in judged.findings):
        return "the archive itself is at fault"
    if drill.is_of_files:
        return "the copies it damages are of dumps, and this archive is of configuration files"
    return ""


class _Run:
    """One archive's controls, in order."""

    def __init__(
        self, drill: Drill, folder: Path, seed: str, verify: Verify, progress: Progress, *, all_kinds: bool
    ) -> None:
        self._drill = drill
        self._folder = folder
        self._seed = seed
        self._verify = verify
        self._progress = progress
        self._all_kinds = all_kinds
        self._content = detect_archive(drill.path, drill.plan.keys)
        self._level = LEVELS.index(drill.plan.level)
        self._is_promised = _is_promised(drill)
        self._undrawn: frozenset[str] = frozenset()
        # What somebody answers for is in every copy too, and catches nothing.
        self._known = {_what(f) for judged in drill.judge_all() for f in judged.findings if f.status == "suppressed"}
        self._is_counted = self._is_promised and _is_counted(drill)

    def controls(self) -> Iterator[ControlRecord]:
        for kind in STORED:
            yield self._stored(kind)
        yield self._stale()
        yield self._manifest_cut()
        whole = self._whole()
        yield from self._of_text(whole, "whole", [kind for kind in TEXT if kind.base == "rows"])
        if self._level < LEVELS.index("restore"):
            yield from (self._not_applicable(k.name, k.title, _TOO_LOW) for k in TEXT if k.base == "definitions")
            return
        yield from self._of_text(self._definitions(whole), "definitions", [k for k in TEXT if k.base == "definitions"])

    # The two kinds of copies

    def _stored(self, kind: StoredKind) -> ControlRecord:
        manifest = self._drill.facts.manifest
        container = self._content.format if self._content.format != "plain" else self._content.compression
        promised = manifest is not None and manifest.archive is not None
        if not promised and container not in kind.shows_in:
            return self._not_applicable(kind.name, kind.title, "without a manifest these bytes cannot be known")
        with copy_of_bytes(
            self._drill.path, self._folder, kind, self._random(kind.name), self._drill.manifest_bytes
        ) as (copy, where):
            return self._try(kind.name, kind.title, where, copy, "integrity", _OF_BYTES)

    def _stale(self) -> ControlRecord:
        """An older archive under this one's name: whole in itself, and not what the manifest speaks of."""
        name, title = "archive-exchanged", "another archive in its place"
        manifest = self._drill.facts.manifest
        if manifest is None or manifest.archive is None or self._drill.manifest_bytes is None:
            return self._not_applicable(name, title, "without a manifest nothing says which archive this is")
        other = _other(self._drill.found)
        if other is None or other.path is None:
            return self._not_applicable(name, title, "there is no other archive beside it")
        with another_archive(other.path, self._folder, self._drill.manifest_bytes) as copy:
            return self._try(name, title, other.name, copy, "integrity", _OF_BYTES)

    def _manifest_cut(self) -> ControlRecord:
        name, title = "manifest-cut", "the manifest cut short"
        data = self._drill.manifest_bytes
        if data is None:
            return self._not_applicable(name, title, "it has no manifest")
        with another_archive(self._drill.path, self._folder, data[: len(data) // 2]) as copy:
            return self._try(name, title, self._drill.manifest_name or "", copy, "integrity", ("manifest",))

    def _count_altered(self, text: Text) -> ControlRecord:
        """The archive sound, and another number of rows promised."""
        name, title = "promised-count-altered", "a promised row count altered"
        manifest = text.manifest
        tables = sorted(table.label for table in manifest.inventory.tables) if manifest and manifest.inventory else []
        if manifest is None or not tables or not self._is_promised:
            return self._not_applicable(name, title, "no row count is promised")
        table = self._random(name).choice([table for table in tables if table in manifest.row_counts] or tables)
        counts = {**manifest.row_counts, table: manifest.row_counts.get(table, 0) + 1}
        altered = replace(text, manifest=replace(manifest, row_counts=counts))
        with copy_of_text(altered, self._folder, ()) as copy:
            return self._try(name, title, table, copy, "restore", (table,))

    def _of_text(self, text: Text, what: str, kinds: list[TextKind]) -> Iterator[ControlRecord]:
        level: Level = self._drill.plan.level
        yield self._healthy(text, f"{what}, before the damaged ones", level)
        self._undrawn = self._left_to_others(text, kinds)
        # Restores of a few rows leave processors idle; of many, they would need the room of several databases.
        pool = ThreadPoolExecutor(SIDE_BY_SIDE if what == "definitions" else 1, thread_name_prefix="pgdrill-control")
        try:
            yield from pool.map(partial(self._damaged, text), kinds)
        finally:
            pool.shutdown(cancel_futures=True)
        if what == "definitions":
            yield self._count_altered(text)
            yield self._healthy(text, f"{what}, after the damaged ones", level)

    def _healthy(self, text: Text, what: str, level: Level) -> ControlRecord:
        with copy_of_text(text, self._folder, ()) as copy:
            return self._try(_UNDAMAGED, "an undamaged copy", what, copy, level, ())

    def _damaged(self, text: Text, kind: TextKind) -> ControlRecord:
        if LEVELS.index(kind.level) > self._level:
            return self._not_applicable(kind.name, kind.title, _TOO_LOW)
        if kind.is_lie and not self._is_counted:
            return self._not_applicable(kind.name, kind.title, "nothing was recorded of the source beside the dump")
        if kind.needs_promise and not self._is_promised:
            return self._not_applicable(kind.name, kind.title, "without the source's side nobody can know")
        if kind.name in self._undrawn:
            return self._not_applicable(
                kind.name, kind.title, f"left to other archives: {DRAWN} such are drawn for each"
            )
        damage = kind.strike(text.map, self._random(kind.name))
        if damage is None:
            return self._not_applicable(kind.name, kind.title, "the archive holds nothing it could strike")
        with copy_of_text(text, self._folder, damage.edits, is_lie=kind.is_lie) as copy:
            names = (*damage.names, *_identities(damage.names)) if kind.is_lie else damage.names
            return self._try(kind.name, kind.title, damage.object, copy, kind.level, names)

    def _left_to_others(self, text: Text, kinds: list[TextKind]) -> frozenset[str]:
        """Of the kinds to draw from that fit this archive, those its seed did not draw."""
        fitting = [k.name for k in kinds if k.is_drawn and k.strike(text.map, self._random(k.name)) is not None]
        drawn = self._random("draw").sample(fitting, min(DRAWN, len(fitting)))
        return frozenset(fitting) - frozenset(drawn) if not self._all_kinds else frozenset()

    def _whole(self) -> Text:
        return whole_text(self._drill.path, self._content, self._drill.facts.manifest, self._drill.plan.keys)

    def _definitions(self, whole: Text) -> Text:
        """Without rows where those are COPY blocks; else the whole text serves for definitions too."""
        dump = self._drill.facts.archived.inventory
        if dump is None or any(table.form != "copy" for table in dump.tables):
            return whole
        return text_of_definitions(whole, self._folder, dump)

    # One copy

    def _try(
        self, name: str, title: str, where: str, copy: Copy, level: Level, names: tuple[str, ...]
    ) -> ControlRecord:
        begun = time.monotonic()
        try:
            found = [f for f in self._verify(copy, level) if f.status == "fault" and _what(f) not in self._known]
        except BackupError as exc:
            return ControlRecord(kind=name, title=title, object=where, status="not_tried", reason=exc.message)
        named = next((f for f in found if _mentions(f, names)), None)
        told = named or (found[0] if found else None)
        status: ControlStatus = "caught" if found else "missed"
        if name == _UNDAMAGED:
            status = "false_alarm" if found else "clean"
        control = ControlRecord(
            kind=name,
            title=title,
            object=where,
            status=status,
            check=told.check if told else None,
            finding=told.object if told else None,
            named=None if status in ("clean", "false_alarm") else named is not None,
            seconds=time.monotonic() - begun,
        )
        self._progress(_line(control))
        return control

    def _not_applicable(self, name: str, title: str, why: str) -> ControlRecord:
        return ControlRecord(kind=name, title=title, object="", status="not_applicable", reason=why)

    def _random(self, kind: str) -> Random:
        return Random(f"{self._seed} {kind}")  # noqa: S311 - to be repeated, not to be secret


_TOO_LOW = "the drill's level does not reach it"


def _mentions(finding: Finding, names: tuple[str, ...]) -> bool:
    text = f"{finding.object} {finding.expected} {finding.actual}"
    return any(name in text for name in names)


def _what(finding: Finding) -> tuple[str, str, str]:
    return finding.check, finding.object, finding.actual


def _identities(labels: tuple[str, ...]) -> tuple[str, ...]:
    """As the server's catalog names what a dump calls `INDEX public.por_total` or `TRIGGER public.venta al_vender`."""
    return tuple(label.replace('"', "").rpartition(" ")[2].rpartition(".")[2] for label in labels)


def _line(control: ControlRecord) -> str:
    ended = f"{control.status.replace('_', ' ')}{f' by {control.check}' if control.check else ''}"
    return f"{control.title} ({control.object}): {ended}, {control.seconds:.1f} s"


def _is_promised(drill: Drill) -> bool:
    """The manifest's inventory is the archive's, text by text, so any alteration contradicts it."""
    facts = drill.facts
    promised, dump = facts.promised, facts.archived.inventory
    if promised is None or dump is None or scope_of(facts.expect, facts.manifest, dump).said_by != "manifest":
        return False
    return (promised.entries, promised.tables, promised.sequences, promised.large_objects) == (
        dump.entries, dump.tables, dump.sequences, dump.large_objects
    )  # fmt: skip


def _is_counted(drill: Drill) -> bool:
    """The source's own catalog was asked, and can be compared."""
    facts = drill.facts
    manifest = facts.manifest
    whole = scope_of(facts.expect, manifest, facts.archived.inventory).is_whole
    return manifest is not None and bool(manifest.catalog) and whole and not facts.is_cross_major


def _other(found: Found) -> Found | None:
    """The archive taken next before this one, else any other."""
    try:
        others = [archive for archive in list_archives(found.store) if archive.name != found.name]
    except StoreError:
        return None
    older = [archive for archive in others if archive.taken_at < found.taken_at and archive.encryption is None]
    return next(iter(older or others), None)


# The real drill of a copy


class _DrillOfCopy:
    def __init__(self, plan: Plan, servers: list[SharedServer]) -> None:
        self._plan = plan
        self._idle: LifoQueue[SharedServer] = LifoQueue()  # one after another, copies stay on one of them
        for server in servers:
            self._idle.put(server)

    def __call__(self, copy: Copy, level: Level) -> tuple[Finding, ...]:
        if level == "integrity":
            return self._drill(copy, level, None)
        server = self._idle.get()
        try:
            return self._drill(copy, level, server.empty())
        finally:
            self._idle.put(server)

    def _drill(self, copy: Copy, level: Level, sandbox: Chosen | None) -> tuple[Finding, ...]:
        (found,) = resolve([str(copy.path)], copy.path.parent)
        plan = replace(
            self._plan, level=level, manifest=copy.manifest, rto_s=None, rpo_s=None, suppressions=(), sql_checks=()
        )
        with Drill(found, copy.path, plan, drill_id="control", sandbox=sandbox) as drill:
            findings = tuple(f for judged in drill.judge_all() for f in judged.findings if f.status != "match")
            obstacle = drill.facts.obstacle
        drill.close()
        if obstacle is not None:  # neither caught nor missed: the control could not be carried out
            raise BackupError(f"a damaged copy could not be drilled: {obstacle}", hint=drill.facts.obstacle_hint)
        return findings


def _server_for(drill: Drill) -> SharedServer:
    manifest, dump = drill.facts.manifest, drill.facts.archived.inventory
    version = (dump.server_version if dump else None) or (manifest.source.server_version if manifest else None)
    major = drill.facts.server_major or major_of(version) or NEWEST_MAJOR
    role = manifest.source.bootstrap_role if manifest is not None else "postgres"
    own_databases = ("postgres", "template1")
    reusable = dump is not None and dump.scope == "database"
    reusable = reusable and (manifest is None or manifest.source.database not in own_databases)

    def start() -> AbstractContextManager[Chosen]:
        return open_sandbox(
            drill.plan.sandbox, major=major, image=drill.plan.image, bootstrap_role=role, jobs=drill.plan.jobs
        )

    return SharedServer(start, reusable=reusable)
