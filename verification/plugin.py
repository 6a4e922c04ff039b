"""The pytest plugin: options, the fixtures `drill` and `restored`, and an exit status that is 0 only if all is proved.

It is loaded into every pytest run where pgdrill is installed, and does nothing there until a test asks for one of
its fixtures.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

    from backup_lib.catalog import Found
    from backup_lib.configuration import Configuration
    from backup_lib.encryption import Keys
    from backup_lib.notify.announcing import Announcement
    from verification.drill import Drill
    from verification.evidence.record import Record
    from verification.planning import Plan
    from verification.prove import Proof

LEVELS = ("integrity", "restore", "full")
SANDBOXES = ("auto", "container", "embedded")
_STATE = pytest.StashKey["_State"]()
_STORAGE = ".benchmarks"  # pytest-benchmark makes it wherever it starts
_JUNIT = "junit.xml"
_CONTROL = "test_damage_would_be_seen"
_EVIDENCE_BYTES = 1 << 20  # room for the evidence of one drill


@dataclass(slots=True)
class _State:
    """One pytest run's drills."""

    requests: tuple[str, ...]
    run_id: str
    configuration: Configuration | None = None  # None until a test asks
    archives: dict[str, Found] | None = None  # by parameter id; None until a test asks
    expected: list[str] = field(default_factory=list)  # ids of the archives that must end verified
    verdicts: dict[str, str] = field(default_factory=dict)  # by id
    folders: dict[str, str] = field(default_factory=dict)  # by id
    proofs: dict[str, Proof] = field(default_factory=dict)  # by id of the drill, until it is on record
    remarks: list[str] = field(default_factory=list)  # what whoever ran it is to be told
    junit: Path | None = None
    keys: Keys | None = None  # of encrypted archives; None until the archives are chosen
    trouble: pytest.UsageError | None = None  # why no drill can begin
    screen: _Screen | None = None  # for progress
    announcement: Announcement | None = None  # of this run, to people


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pgdrill", "restore drills of PostgreSQL archives")
    add = group.addoption
    add("--archive", action="append", metavar="NAME", dest="pgdrill_archive",
        help="latest (default), latest:DB:KIND, all, random:N, a name, glob, path or URL; repeatable")  # fmt: skip
    add(
        "--backups",
        metavar="PLACE",
        dest="pgdrill_backups",
        help="where archives lie: a folder or s3://bucket/prefix (default: BACKUP_DIR or ./backups)",
    )
    add("--pgdrill-config", type=Path, metavar="FILE", dest="pgdrill_config",
        help="the configuration (default: PGDRILL_CONFIG or ./pgdrill.toml, if there is one)")  # fmt: skip
    add("--sandbox", choices=SANDBOXES, dest="pgdrill_sandbox",
        help="the throwaway server: auto (default), container or embedded")  # fmt: skip
    add("--postgres-image", metavar="IMAGE", dest="pgdrill_image",
        help="container image (default: postgres:<major of the archive>)")  # fmt: skip
    add("--expect", metavar="WHAT", dest="pgdrill_expect",
        help="full, schema, data, or TABLE,…: what it must hold (default: what its manifest says)")  # fmt: skip
    add("--manifest", metavar="FILE", type=Path, dest="pgdrill_manifest",
        help="the manifest of an archive that has none beside it")  # fmt: skip
    add("--level", choices=LEVELS, dest="pgdrill_level",
        help="integrity: read it; restore: and restore and count; full (default): and compare everything")  # fmt: skip
    add(
        "--jobs", type=int, metavar="N", dest="pgdrill_jobs", help="connections that restore (default: one a processor)"
    )
    add(
        "--rto",
        type=float,
        metavar="SECONDS",
        dest="pgdrill_rto",
        help="recovery time objective; missed, the drill fails",
    )
    add(
        "--rpo",
        type=float,
        metavar="SECONDS",
        dest="pgdrill_rpo",
        help="recovery point objective; missed, the drill fails",
    )
    add("--identity", action="append", type=Path, metavar="FILE", dest="pgdrill_identity",
        help="secret key of encrypted archives; repeatable (default: BACKUP_IDENTITY_FILE)")  # fmt: skip
    add("--prove", action="store_true", dest="pgdrill_prove",
        help="damage copies of the archive, one kind each: every one of them must be caught")  # fmt: skip
    add("--reports", type=Path, metavar="FOLDER", dest="pgdrill_reports", help="where records go (default: ./reports)")


@pytest.hookimpl(tryfirst=True)  # before pytest's own JUnit plugin looks at its option
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    now = datetime.now(UTC)
    state = _State(
        requests=tuple(option.pgdrill_archive or ("latest",)),
        run_id=getattr(config, "workerinput", {}).get("pgdrill_run_id", f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"),
    )
    config.stash[_STATE] = state
    config.addinivalue_line("markers", "drill(check): asks one of the drill's checks")
    if hasattr(config, "workerinput") or not _asks_for_drills(config):
        return
    state.screen = _Screen(config)
    if not option.collectonly:
        from verification.telling import begin

        state.announcement = begin(_configuration(config), state.requests, state.remarks.append)
    if not option.collectonly:
        state.trouble = _unwritable(_reports(config))
    if not option.collectonly and state.trouble is None:
        from verification.evidence.folder import clear, passing

        clear(_reports(config))
        if option.xmlpath is None:
            state.junit = passing(_reports(config), _JUNIT)
            option.xmlpath = str(state.junit)


def _unwritable(reports: Path) -> pytest.UsageError | None:
    """Said before the first drill: without a record there is no verdict."""
    try:
        reports.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=reports) as file:
            file.write(bytes(_EVIDENCE_BYTES))
        return None
    except OSError as exc:
        return pytest.UsageError(_cannot_write(reports, exc))


def _cannot_write(reports: Path, exc: OSError) -> str:
    first = f"give that folder to account {os.getuid()}:{os.getgid()}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        first = "free some space there"
    return f"the evidence cannot be written to {reports}: {exc.strerror}\nhint: {first}, or name another one: --reports"


def _asks_for_drills(config: pytest.Config) -> bool:
    """Whether the suite itself is named: a JUnit file is written for it without being asked for."""
    here = Path(__file__).parent
    for argument in config.args:
        name = argument.partition("::")[0]
        if config.option.pyargs and name.partition(".")[0] == "verification":
            return True
        path = config.invocation_params.dir / name
        if path.exists() and (here == path.resolve() or here in path.resolve().parents):
            return True
    return bool(config.option.pgdrill_archive)


def _configuration(config: pytest.Config) -> Configuration:
    """Read when a drill is asked for, and once: a run of other tests has nothing to do with it.

    :raises pytest.UsageError: when it cannot be used.
    """
    from backup_lib.configuration import load_configuration
    from backup_lib.errors import BackupError

    state = config.stash[_STATE]
    if state.configuration is None:
        try:
            state.configuration = load_configuration(os.environ, Path.cwd(), file=config.option.pgdrill_config)
            if state.configuration.settings.suppressions:  # else the checks need not be known to collect tests
                from verification.planning import check_configuration

                check_configuration(state.configuration)
        except BackupError as exc:
            raise pytest.UsageError(str(exc)) from exc
    return state.configuration


def _reports(config: pytest.Config) -> Path:
    return config.option.pgdrill_reports or Path(_configuration(config).settings.verify.reports)


def _place(config: pytest.Config) -> str:
    return config.option.pgdrill_backups or _configuration(config).settings.backup.dir


# Which archives, and what is asked of them


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "drill" not in metafunc.fixturenames:
        return
    config = metafunc.config
    try:
        archives = _archives(config)
        if "sql_check" in metafunc.fixturenames:
            pairs = [(name, check) for name, found in archives.items() for check in _sql_checks(config, name, found)]
            parameters = [pytest.param(name, check, id=f"{name}-{check}") for name, check in pairs]
            metafunc.parametrize(("drill", "sql_check"), parameters, indirect=["drill"], scope="session")
            return
    except pytest.UsageError as exc:  # here it would be an error of collecting, with a traceback
        config.stash[_STATE].trouble, archives = exc, {}
    metafunc.parametrize("drill", [pytest.param(name, id=name) for name in archives], indirect=True, scope="session")


def _sql_checks(config: pytest.Config, name: str, found: Found) -> list[str]:
    return [check.name for check in _plan(config, name, found).sql_checks]


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """Where no query is configured, the suite has no test of one; and no negative control without --prove."""
    if getattr(obj, "__module__", "") != "verification.test_archive":
        return None
    if name == _CONTROL:
        return None if collector.config.option.pgdrill_prove else []
    if name != "test_sql_check":
        return None
    try:
        return None if _configuration(collector.config).settings.checks else []
    except pytest.UsageError as exc:
        collector.config.stash[_STATE].trouble = exc
        return []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    if (trouble := config.stash[_STATE].trouble) is not None:
        raise trouble


def _archives(config: pytest.Config) -> dict[str, Found]:
    """The archives asked for, by parameter id: what was asked for if that is one archive, so that ids are stable."""
    from backup_lib.catalog import remark_on, resolve
    from backup_lib.encryption import keys_from_environment
    from backup_lib.errors import BackupError

    state = config.stash[_STATE]
    if state.archives is not None:
        return state.archives
    place = _place(config)
    seed = int.from_bytes(state.run_id.encode(), "big")
    chosen: dict[str, Found] = {}
    try:
        state.keys = keys_from_environment(os.environ, identity_files=config.option.pgdrill_identity or ())
        if told := getattr(config, "workerinput", {}).get("pgdrill_archives"):
            chosen = {name: resolve([path], place)[0] for name, path in told.items()}
        for request in () if told else state.requests:
            found = resolve([request], place, seed=seed)
            state.remarks += filter(None, [remark_on(request, found[0])])
            chosen.update({request if len(found) == 1 else archive.name: archive for archive in found})
    except BackupError as exc:
        raise pytest.UsageError(str(exc)) from exc
    state.archives, state.expected = chosen, list(chosen)
    return chosen


# Fixtures


@pytest.fixture(scope="session")
def drill(request: pytest.FixtureRequest) -> Iterator[Drill]:
    """The drill of one archive. All tests of an archive share it, and so its one restore."""
    from verification.drill import Drill
    from verification.evidence.builder import build_record
    from verification.evidence.folder import write_evidence
    from verification.fetching import place_here
    from verification.noting import note

    config = request.config
    state = config.stash[_STATE]
    name = request.param
    found = _archives(config)[name]
    drill_id = f"{state.run_id}-{list(_archives(config)).index(name) + 1}"
    with place_here(found) as path:
        with Drill(found, path, _plan(config, name, found), drill_id=drill_id) as drill, _watched(config, drill):
            yield drill
            drill.judge_all()
        record = build_record(drill, finished_at=datetime.now(UTC), proof=state.proofs.pop(drill_id, None))
    drill.close()
    trouble = ""
    try:
        state.folders[name] = str(write_evidence(_reports(config), record))
    except OSError as exc:
        trouble = _cannot_write(_reports(config), exc)
    if trouble:  # said without the exception: there is no verdict without a record
        pytest.fail(trouble, pytrace=False)
    state.verdicts[name] = record.verdict
    if remark := note(found, record, change=drill.change()):
        state.remarks.append(remark)


@pytest.fixture(scope="session")
def proof(request: pytest.FixtureRequest, drill: Drill) -> Proof:
    """The negative control of one archive, for its record."""
    from backup_lib.errors import BackupError
    from verification.prove import Proof, prove

    state = request.config.stash[_STATE]
    progress = state.screen.show if state.screen is not None else lambda _line: None
    try:
        proof = prove(drill, progress=progress)
    except (BackupError, OSError) as exc:
        proof = Proof(controls=(), seed="", seconds=0.0, obstacle=str(exc))
    state.proofs[drill.drill_id] = proof
    return proof


@pytest.fixture
def restored(drill: Drill) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection, in autocommit mode, to the restored database: your own tests of it are checks too.

    Everything was compared before, so a test may write.
    """
    with drill.connect() as connection:
        yield connection


def _watched(config: pytest.Config, drill: Drill) -> AbstractContextManager[None]:
    """Progress on stderr; a worker of xdist has nobody to tell."""
    from verification.watching import watching

    screen = config.stash[_STATE].screen
    return watching(drill, screen) if screen is not None else nullcontext()


class _Screen:
    """The stderr that pytest was started with: what a test writes goes elsewhere, and so does pytest's own."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._fd = os.dup(2)
        self.is_terminal = os.isatty(self._fd)

    def show(self, line: str) -> None:
        begins = ""
        if self._is_pytests():
            self._terminal().currentfspath = None  # pytest then begins a line, and names the file again
            begins = "\n"
        self._write(f"{begins}\r{line}\033[K" if self.is_terminal else f"{begins}{line}\n")

    def clear(self) -> None:
        if self.is_terminal and not self._is_pytests():
            self._write("\r\033[K")

    def close(self) -> None:
        os.close(self._fd)

    def _terminal(self) -> Any:
        return self._config.pluginmanager.getplugin("terminalreporter")

    def _is_pytests(self) -> bool:
        """Whether the line that the cursor is on is one of pytest's."""
        terminal = self._terminal()
        return terminal is not None and terminal.currentfspath is not None

    def _write(self, text: str) -> None:
        with suppress(OSError):  # nobody looks any more
            os.write(self._fd, text.encode())


def _plan(config: pytest.Config, name: str, found: Found) -> Plan:
    from backup_lib.catalog import remark_on
    from backup_lib.encryption import NO_KEYS
    from verification.planning import Asked, plan_drill

    option = config.option
    asked = Asked(
        level=option.pgdrill_level,
        expect=tuple(filter(None, (option.pgdrill_expect or "").split(","))),
        sandbox=option.pgdrill_sandbox,
        image=option.pgdrill_image,
        jobs=option.pgdrill_jobs,
        manifest=option.pgdrill_manifest,
        rto_s=option.pgdrill_rto,
        rpo_s=option.pgdrill_rpo,
        keys=config.stash[_STATE].keys or NO_KEYS,
    )
    plan = plan_drill(_configuration(config), asked, found)
    remark = remark_on(name, found)
    return replace(plan, not_proved=(f"{remark}.", *plan.not_proved)) if remark else plan


# Workers of xdist: one archive's tests stay on one, and all see the same archives


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    config = node.config
    if _asks_for_drills(config):
        archives = _archives(config)
        node.workerinput["pgdrill_archives"] = {name: found.address for name, found in archives.items()}
        node.workerinput["pgdrill_run_id"] = config.stash[_STATE].run_id


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if not _asks_for_drills(config) or config.option.dist == "each":
        return None
    from verification.scheduling import ByArchive

    return ByArchive(config, log, _archives(config))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    state = node.config.stash[_STATE]
    output = getattr(node, "workeroutput", {})
    state.verdicts.update(output.get("pgdrill_verdicts", {}))
    state.folders.update(output.get("pgdrill_folders", {}))
    state.remarks += output.get("pgdrill_remarks", [])


# The end


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of what prints the summary
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    state = session.config.stash[_STATE]
    result = None
    try:
        result = yield
    except OSError as exc:
        if state.junit is None:
            raise
        state.remarks.append(f"pytest's JUnit file is missing: {exc.strerror}")
        with suppress(OSError):
            state.junit.unlink()
    _finish(session)
    return result


def _finish(session: pytest.Session) -> None:
    config = session.config
    state = config.stash[_STATE]
    if hasattr(config, "workerinput"):
        config.workeroutput["pgdrill_verdicts"] = state.verdicts  # type: ignore[attr-defined]
        config.workeroutput["pgdrill_folders"] = state.folders  # type: ignore[attr-defined]
        config.workeroutput["pgdrill_remarks"] = state.remarks  # type: ignore[attr-defined]
        return
    if told := os.environ.get("PGDRILL_VERDICTS"):  # for `pgdrill verify`, which exits by them
        outcome = {
            name: {"verdict": verdict, "folder": state.folders[name]} for name, verdict in state.verdicts.items()
        }
        Path(told).write_text(json.dumps({"expected": state.expected, "drills": outcome}))
    if state.verdicts and (trouble := _refresh_metrics(config)):
        state.remarks.append(trouble)
    ended_well = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    # A worker of xdist drills also what the controller did not know of.
    verified = all(state.verdicts.get(name) == "verified" for name in {*state.expected, *state.verdicts})
    if ended_well and not verified and not config.option.collectonly:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if state.announcement is not None:
        from verification.telling import end

        end(
            state.announcement,
            state.remarks.append,
            expected=state.expected,
            verdicts=state.verdicts,
            folders=state.folders,
            ended_well=session.exitstatus == pytest.ExitCode.OK,
            interrupted=session.exitstatus == pytest.ExitCode.INTERRUPTED,
        )


def _refresh_metrics(config: pytest.Config) -> str:
    """By now each drill is noted beside its archive."""
    from backup_lib.monitor.metrics import refresh_metrics

    return refresh_metrics(_configuration(config))


def pytest_unconfigure(config: pytest.Config) -> None:
    """By now pytest has written its JUnit file: it belongs to each drill of the run."""
    state = config.stash.get(_STATE, None)
    if state is not None and state.screen is not None:
        state.screen.close()
    if state is not None and config.getoption("benchmark_storage", None) == f"file://./{_STORAGE}":
        with suppress(OSError):  # somebody keeps something there
            Path(_STORAGE).rmdir()
    if state is None or state.junit is None or not state.junit.is_file():
        return
    from verification.evidence.folder import add_file

    for folder in state.folders.values():
        with suppress(OSError):  # the record stands without it
            add_file(Path(folder), _JUNIT, state.junit.read_bytes())
    state.junit.unlink()


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not _asks_for_drills(config):
        return []
    option = config.option
    configuration = _configuration(config)
    verify = configuration.settings.verify
    asked = ", ".join(config.stash[_STATE].requests)
    said_by = f", as {configuration.path} says" if configuration.path else ""
    level, sandbox = option.pgdrill_level or verify.level, option.pgdrill_sandbox or verify.sandbox
    return [f"pgdrill: {asked} in {_place(config)}, level {level}, sandbox {sandbox}{said_by}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    state = config.stash[_STATE]
    for name in state.expected:
        if name in state.folders:
            _print_record(terminalreporter, Path(state.folders[name]))
        elif not config.option.collectonly:
            terminalreporter.section(f"drill of {name}", red=True)
            terminalreporter.line("not verified: none of its tests ran to the end", red=True)
    for remark in state.remarks:
        terminalreporter.line(f"note: {remark}")


def _print_record(terminal: pytest.TerminalReporter, folder: Path) -> None:
    from rich.console import Console

    from verification.evidence.folder import RECORD
    from verification.evidence.record import read_record
    from verification.report.terminal import render_terminal

    record: Record = read_record(folder / RECORD)
    terminal.section(f"drill of {record.archive.name}")
    width = terminal._tw.fullwidth
    console = Console(width=width, force_terminal=terminal.hasmarkup, no_color=not terminal.hasmarkup, highlight=False)
    with console.capture() as captured:
        console.print(render_terminal(record, width=width))
    terminal.write(captured.get())
    terminal.line(f"report: {folder / 'report.html'}")
