"""The record of one drill: what was restored, where, how long it took, what was found, what was not proved.

`record.json` is this, as JSON; every other file in its folder is a view of it. Row values never enter it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from verification.finding import Finding

SCHEMA_VERSION = 1

Verdict = Literal["verified", "failed", "could_not_verify"]
ControlStatus = Literal["caught", "missed", "clean", "false_alarm", "not_applicable", "not_tried"]
CheckStatus = Literal["passed", "failed", "could_not_verify", "not_run", "suppressed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecord:
    """What was drilled."""

    name: str
    location: str  # folder or URL, without credentials
    format: str | None  # plain, custom, directory, tar; None where the bytes show none
    compression: str | None
    encryption: str | None
    kind: str  # full, schema, data, tables: what the archive is supposed to hold
    kind_from: str  # manifest, --expect, or the dump itself
    size_bytes: int | None
    sha256: str | None  # as stored
    text_sha256: str | None  # of pg_dump's text inside
    text_bytes: int | None
    snapshot_at: datetime | None  # UTC; the instant the data is from
    database: str | None
    system_identifier: str | None
    server_version: str | None  # of the source
    dump_version: str | None  # of pg_dump
    manifest: str | None  # its name; None: a foreign archive, verified against itself
    manifest_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """Where it was restored."""

    kind: str  # embedded, container
    chosen_because: str
    server_version: str
    facts: dict[str, str]  # programs or image with digest, isolation, settings for speed
    destroyed: bool | None  # proved gone afterwards; None: never started
    host: str
    processors: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRecord:
    """One phase's wall clock. Phases that overlap others say so, and do not add up to the total."""

    name: str  # fetch, decompress and hash, server start, pre-data, data, post-data, analyze, first query, checks
    seconds: float
    overlaps: bool = False
    bytes: int | None = None
    began_s: float | None = None  # seconds after the drill's first phase began; None in records of older versions


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One piece of the loading: a table's rows, a key, an index, the check of a foreign key."""

    entry: str  # of the dump: INDEX public.ventas_fecha_idx
    table: str | None
    began_s: float  # seconds after the drill's first phase began
    seconds: float
    size_bytes: int | None = None  # of rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRecord:
    """How the archive's text went into the server: what bounds a restore, and what more processors would change."""

    jobs: int  # connections that loaded side by side
    seconds: float
    work_s: float  # of all steps together; `jobs` at once, so at most their product
    reader_waited_s: float  # for the server to take what was read: the rest of reading is decompressing and hashing
    own_cpu_s: float  # processor time of pgdrill itself
    machine_busy: float | None  # share of all processors' time that was used meanwhile, by whomever
    machine_waiting: float | None  # share that was idle for a disk
    steps: tuple[StepRecord, ...]  # the longest, in the order in which they began


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """One check: a title for people, how many things it compared, and how it ended."""

    name: str
    title: str
    status: CheckStatus
    compared: int
    faults: int
    seconds: float
    method: str  # how it proves it, in one sentence
    suppressed: int = 0  # how many faults and gaps somebody answers for


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRecord:
    """One copy of the archive in the negative control: how it was damaged, and what the drill said of it."""

    kind: str
    title: str  # the same, for people
    object: str  # what was damaged; "" where nothing was
    status: ControlStatus
    check: str | None = None  # that caught it
    finding: str | None = None  # what its finding is about
    named: bool | None = None  # the finding names what was damaged; None where nothing was
    seconds: float | None = None  # None: not tried
    reason: str = ""  # why it was not tried


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """One table's evidence; counts and digests only. None: not known on that side."""

    table: str
    rows_promised: int | None  # counted in the source's snapshot
    rows_archived: int | None
    rows_restored: int | None
    size_bytes: int | None  # of its rows' text
    sha256: str | None  # of its rows' text in the archive
    content: Literal["identical", "reordered", "different", "not_compared"]
    by_sums: bool = False  # the servers' sums of its rows' hashes say so; else a digest or a comparison row by row
    seconds: float | None = None  # to load it
    built_s: float | None = None  # its keys, indexes, triggers and the checks of its foreign keys, one after another


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A recovery objective and what was measured; `met` is None where either is unknown."""

    objective_s: float | None
    measured_s: float | None
    met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    drill_id: str
    started_at: datetime  # UTC
    finished_at: datetime  # UTC
    verdict: Verdict
    summary: str  # one sentence for people
    level: str  # integrity, restore, full
    archive: ArchiveRecord
    sandbox: SandboxRecord | None
    phases: tuple[PhaseRecord, ...]
    checks: tuple[CheckRecord, ...]
    findings: tuple[Finding, ...]  # faults, gaps and notes; matches are counted in `checks`
    tables: tuple[TableRecord, ...]
    rto: Objective
    rpo: Objective
    not_proved: tuple[str, ...]  # one sentence each: what this drill says nothing about
    initiator: str  # who or what started it: a person's account or a CI run
    tools: dict[str, str]
    controls: tuple[ControlRecord, ...] = ()  # of the negative control; empty where it was not asked for
    load: LoadRecord | None = None  # None: nothing was loaded, or a record of an older version
    schema_version: int = SCHEMA_VERSION


def render_record(record: Record) -> bytes:
    """JSON, indented, ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def read_record(path: Path) -> Record:
    """:raises msgspec.MsgspecError: when it is not a record of this schema; the message says where."""
    return msgspec.json.decode(path.read_bytes(), type=Record)
