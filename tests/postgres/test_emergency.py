"""The emergency procedure on a live server: whatever fails or is interrupted, the name finds a whole database."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import psycopg
import pytest
from drilling import PgDump, execute, rewrite
from object_stores import BUCKET, Bucket, client_of
from typer.testing import CliRunner

from backup_lib.backup import make_backup
from backup_lib.cli.app import app
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import open_dump_text
from backup_lib.emergency.proof import prove
from backup_lib.emergency.readiness import begin, check
from backup_lib.emergency.state import State, read_state, write_state
from backup_lib.errors import BackupError, StoreError
from backup_lib.restore.prepare import Request, prepare, read_manifest
from backup_lib.restore.run import carry_out
from backup_lib.restore.target import TargetServer
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

_SHOP = """
CREATE TABLE ventas (id serial PRIMARY KEY, estado varchar(9) CHECK (estado IN ('abierta', 'cobrada')), total int);
INSERT INTO ventas (estado, total) SELECT 'cobrada', n FROM generate_series(1, 400) n;
CREATE TABLE partidas (venta int REFERENCES ventas, linea int, PRIMARY KEY (venta, linea));
INSERT INTO partidas SELECT n, 1 FROM generate_series(1, 400) n;
CREATE INDEX ventas_total_ix ON ventas (total);
CREATE VIEW juntas AS SELECT j.* FROM (SELECT 'a' AS x, 1::smallint AS n UNION SELECT 'b', NULL) j;
CREATE TABLE calculada (a int, b int GENERATED ALWAYS AS (a + 1) STORED);
INSERT INTO calculada VALUES (1);
CREATE VIEW cobradas AS SELECT * FROM ventas WHERE estado = 'cobrada';
SELECT lo_from_bytea(815, 'grande');
"""
_GOOD, _BAD = 400, 3  # rows of ventas: in the archive, in the live database


@dataclass(frozen=True)
class Live:
    """A database in use, the archive of its better days, and a folder where the procedure is run."""

    server: Server
    name: str
    archive: Path
    folder: Path

    @property
    def dsn(self) -> str:
        return self.server.conninfo(self.name)

    @property
    def state_file(self) -> Path:
        return self.folder / "reports" / f"pgdrill-emergency-{self.name}.json"

    def state(self) -> State:
        state = read_state(self.state_file)
        assert state
        return state

    def rows(self) -> int:
        """Of the database that the name finds now."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT count(*) FROM ventas").fetchone()
            assert row
            return int(row[0])

    def databases(self) -> list[str]:
        with psycopg.connect(self.server.conninfo()) as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [self.name + "%"])
            return sorted(name for (name,) in found)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "BACKUP_"))}
        argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", "restore", *map(str, words)]
        return subprocess.Popen(
            argv, cwd=self.folder, env={**kept, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "DATABASE_URL": self.dsn},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        """The same command in this process, which takes a third of the time: status, output, last words."""
        with chdir(self.folder):
            done = CliRunner().invoke(app, ["restore", *map(str, words)], env={"DATABASE_URL": self.dsn})
        if isinstance(done.exception, BackupError):
            return done.exception.exit_status, done.stdout, done.stderr + str(done.exception)
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def archive_of(
    server_of: Callable[[int], Server], pg_dump: PgDump, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Path]]:
    """`archive_of(15, guide=True)`: the archive of a database in good health."""
    folder = tmp_path_factory.mktemp("archives")
    made: dict[tuple[int, bool], Path] = {}
    sources: dict[int, Server] = {}

    def archive_of(major: int, *, guide: bool = False) -> Path:
        server = server_of(major)
        dsn = server.conninfo("pgdrill_emergency_source")
        if major not in sources:
            execute(server.conninfo(), "CREATE DATABASE pgdrill_emergency_source")
            execute(dsn, _SHOP)
            sources[major] = server
        if (major, guide) not in made and guide:
            plain = pg_dump(server, dsn, folder / f"{major}.sql", "--clean", "--create", "--if-exists")
            path = folder / f"{major}.sql.gz"
            path.write_bytes(gzip.compress(plain.read_bytes()))
            made[major, True] = path
        elif (major, guide) not in made:
            found = make_backup(dsn, folder / str(major)).path
            assert found
            made[major, False] = found
        return made[major, guide]

    (folder / "18").mkdir()
    (folder / "15").mkdir()
    yield archive_of
    for server in sources.values():
        execute(server.conninfo(), "DROP DATABASE pgdrill_emergency_source WITH (FORCE)")


@pytest.fixture
def live_of(
    server_of: Callable[[int], Server], archive_of: Callable[..., Path], tmp_path: Path
) -> Iterator[Callable[..., Live]]:
    made: list[Live] = []

    def live_of(major: int = 18, *, guide: bool = False) -> Live:
        server, name = server_of(major), f"viva_{os.urandom(4).hex()}"
        execute(server.conninfo(), f"CREATE DATABASE {name}", f"ALTER DATABASE {name} SET work_mem = '7MB'")
        live = Live(server=server, name=name, archive=archive_of(major, guide=guide), folder=tmp_path)
        execute(live.dsn, "CREATE TABLE ventas (id int)", f"INSERT INTO ventas SELECT generate_series(1, {_BAD})")
        made.append(live)
        return live

    yield live_of
    for live in made:
        for name in live.databases():
            execute(live.server.conninfo(), f'DROP DATABASE "{name}" WITH (FORCE)')


class Application:
    """Connects again and again, as applications do, and remembers every answer but the good ones."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.missing = 0  # times that there was no database of that name
        self.counts: set[int] = set()
        self._over = Event()
        self._thread = Thread(target=self._work)

    def __enter__(self) -> Application:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                self.counts.add(self.live.rows())
            except psycopg.OperationalError as exc:
                self.missing += "does not exist" in str(exc)


@pytest.mark.parametrize(("major", "guide"), [(15, True), (18, False)], ids=["15-guide", "18-ours"])
def test_the_restored_database_takes_the_name_of_the_live_one(
    live_of: Callable[..., Live],
    major: int,
    guide: bool,  # noqa: FBT001
) -> None:
    live = live_of(major, guide=guide)
    with Application(live) as application:
        status, out, err = live.run(
            live.archive, "--emergency", "--yes", "--stop-command", "touch stopped", "--start-command", "touch started",
            "--health-command", "test -f started",
        )  # fmt: skip
    assert (status, err) == (0, "")
    assert "[6/6] health: test -f started says it is well" in out
    assert f"{live.name} is the restored database, and the old one is kept as {live.name}_old_" in out
    assert live.rows() == _GOOD
    assert application.missing <= 1  # who connects in the moment of the swap is turned away, once
    assert application.counts == {_BAD, _GOOD}
    state = live.state()
    assert state.outcome == "done"
    assert [step.status for step in state.steps] == ["done"] * 6
    assert all(step.seconds is not None for step in state.steps)
    assert live.databases() == [live.name, state.old]
    assert (live.folder / "stopped").exists()
    assert live.state_file.stat().st_mode & 0o777 == 0o600
    status, out, _ = live.run("--rollback", "--yes")
    assert status == 0
    assert live.rows() == _BAD
    assert live.databases() == [live.name, state.new]
    assert live.run("--resume", "--yes")[0] == 2


def test_it_is_told_first_and_needs_a_yes(live_of: Callable[..., Live]) -> None:
    live = live_of()
    status, out, _ = live.run(live.archive, "--emergency", "--dry-run")
    assert status == 0
    assert "801 in 3 tables" in out
    assert "changes names with it" in out
    assert not live.state_file.parent.exists()  # it touches nothing
    status, _, err = live.run(live.archive, "--emergency")
    assert (status, "needs --yes" in err) == (2, True)
    assert live.databases() == [live.name]
    assert not live.state_file.exists()
    assert live.run("--resume", "--yes")[0] == 2
    assert live.run(live.archive, "--emergency", "--table", "ventas")[0] == 2


def test_a_log_without_room_stops_nothing_half_way(live_of: Callable[..., Live]) -> None:
    live = live_of()
    log = "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), {}); "
    for descriptor in (2, 1):
        argv = [sys.executable, "-c", log.format(descriptor) + "from backup_lib.cli import main; main()", "restore"]
        words = [str(live.archive), "--emergency", "--yes"] if descriptor == 2 else ["--rollback", "--yes"]
        subprocess.run(
            argv + words, cwd=live.folder, env={"PATH": os.environ["PATH"], "DATABASE_URL": live.dsn}, check=True
        )
        assert live.rows() == (_GOOD if descriptor == 2 else _BAD)


def test_a_state_without_room_is_named(live_of: Callable[..., Live]) -> None:
    live = live_of()
    live.state_file.parent.mkdir()
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert live.run(live.archive, "--emergency", "--yes")[0] == 0
    state = live.state()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, former[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot be noted: .*\.json: File too large(.|\n)*--resume"):
            write_state(live.state_file, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert live.state() == state


@pytest.mark.parametrize("mode", ["--resume", "--rollback"])
def test_a_dry_run_goes_neither_on_nor_back(live_of: Callable[..., Live], mode: str) -> None:
    live = live_of()
    assert live.run(live.archive, "--emergency", "--yes")[0] == 0
    before, rows = live.state_file.read_bytes(), live.rows()
    status, _, err = live.run(mode, "--yes", "--dry-run")
    assert (status, "nothing was done" in err) == (2, True)
    assert (live.state_file.read_bytes(), live.rows()) == (before, rows)


@pytest.mark.parametrize("failing", ["start", "health"])
def test_an_application_that_is_not_well_gets_its_database_back(live_of: Callable[..., Live], failing: str) -> None:
    live = live_of()
    commands = {"start": "touch started", "health": "true"} | {failing: "false"}
    status, out, err = live.run(
        live.archive, "--emergency", "--yes", "--health-timeout", "0",
        "--start-command", commands["start"], "--health-command", commands["health"],
    )  # fmt: skip
    assert status == 1
    assert f"{failing}: FAILED" in out
    assert f"{live.name} is the database it was" in err
    assert live.rows() == _BAD
    state = live.state()
    assert (state.outcome, state.step(failing).status) == ("rolled_back", "failed")
    assert live.databases() == [live.name, state.new]
    assert live.run("--rollback", "--yes")[0] == 2


def test_an_address_is_asked_for_health(live_of: Callable[..., Live]) -> None:
    live = live_of()
    status, _, err = live.run(
        live.archive, "--emergency", "--yes", "--health-timeout", "0", "--health-url", "http://127.0.0.1:9/"
    )
    assert status == 1
    assert "http://127.0.0.1:9/ does not answer well" in err
    assert live.rows() == _BAD
    assert live.run(live.archive, "--emergency", "--yes", "--health-url", "file:///etc/hosts")[0] == 2


def test_a_failed_stop_leaves_all_as_it_was_and_can_go_on(live_of: Callable[..., Live]) -> None:
    live = live_of()
    status, _, err = live.run(
        live.archive, "--emergency", "--yes", "--stop-command", "test -f mended", "--start-command", "touch started"
    )
    assert status == 3
    assert "test -f mended exited 1" in err
    assert (live.folder / "started").exists()
    assert live.rows() == _BAD
    status, _, err = live.run(live.archive, "--emergency", "--yes")
    assert (status, "is under way" in err) == (2, True)
    (live.folder / "mended").touch()
    restored_at = live.state().step("restore").began_at
    status, out, _ = live.run("--resume", "--yes", "--stop-command", "test -f mended")
    assert status == 0
    assert "[1/6] restore: done before" in out
    assert live.state().step("restore").began_at == restored_at
    assert live.rows() == _GOOD


@pytest.mark.parametrize(
    ("step", "number"),
    [
        pytest.param("stop", signal.SIGTERM, id="stop-term"),
        pytest.param("start", signal.SIGKILL, id="start-kill"),
        pytest.param("health", signal.SIGTERM, id="health-term"),
    ],
)
def test_an_interrupted_step_is_gone_on_with(live_of: Callable[..., Live], step: str, number: signal.Signals) -> None:
    live = live_of()
    with live.start(live.archive, "--emergency", "--yes", f"--{step}-command", "sleep 3") as program:
        _wait_for_step(live, step)
        program.send_signal(number)
        _, err = program.communicate(timeout=30)
    assert live.rows() == (_BAD if step == "stop" else _GOOD)
    if number == signal.SIGTERM:
        assert program.returncode == 130
        assert f"interrupted in {step}" in err
        assert "--resume" in err
    assert live.state().step(step).status == "running"
    assert live.run("--resume", "--yes")[0] == 0
    assert live.rows() == _GOOD


def _wait_for_step(live: Live, step: str) -> None:
    for _ in range(600):
        with suppress(AssertionError):
            if live.state().step(step).status == "running":
                time.sleep(0.2)
                return
        time.sleep(0.05)
    raise AssertionError(f"{step} did not begin")


@pytest.mark.parametrize("after", ["resume", "rollback"])
def test_a_killed_restore_is_begun_anew_or_cleared_away(
    live_of: Callable[..., Live], archive_of: Callable[..., Path], tmp_path: Path, after: str
) -> None:
    live, slow = live_of(), tmp_path / "slow.sql.gz"
    slow.write_bytes(archive_of(18, guide=True).read_bytes())
    rewrite(
        slow,
        lambda text: text.replace(
            b"ADD CONSTRAINT partidas_pkey",
            b"ADD CHECK (pg_sleep(3) IS NOT NULL OR linea > 0), ADD CONSTRAINT partidas_pkey",
        ),
    )
    program = live.start(slow, "--emergency", "--yes")
    _wait_for_step(live, "restore")
    for _ in range(200):
        if len(live.databases()) == 2:
            break
        time.sleep(0.05)
    program.kill()
    program.communicate()
    assert live.rows() == _BAD
    assert len(live.databases()) == 2
    slow.write_bytes(archive_of(18, guide=True).read_bytes())  # not the archive that it was begun with
    status, _, err = live.run("--resume", "--yes")
    assert (status, "not the archive this emergency restore was begun with" in err) == (3, True)
    state = live.state()
    write_state(live.state_file, msgspec.structs.replace(state, sha256=prepare_sha(slow)))
    status, _, _ = live.run(f"--{after}", "--yes")
    assert status == 0
    assert live.rows() == (_GOOD if after == "resume" else _BAD)
    assert live.databases() == ([live.name, state.old] if after == "resume" else [live.name])


def prepare_sha(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_kill_between_the_swap_and_its_record_is_seen_at_the_server(live_of: Callable[..., Live]) -> None:
    live = live_of()
    assert live.run(live.archive, "--emergency", "--yes")[0] == 0
    state = live.state()
    for name, status in (("swap", "running"), ("start", "pending"), ("health", "pending")):
        state = state.with_step(msgspec.structs.replace(state.step(name), status=status))
    write_state(live.state_file, msgspec.structs.replace(state, outcome="under_way"))
    status, out, _ = live.run("--resume", "--yes")
    assert (status, "the names were swapped before" in out) == (0, True)
    assert live.rows() == _GOOD


_KILL = "sh -c 'kill -9 $PPID'"  # as a step's command


@pytest.mark.parametrize("after", ["rollback", "resume"])
def test_a_roll_back_killed_when_the_names_are_given_back_keeps_what_was_restored(
    live_of: Callable[..., Live], after: str
) -> None:
    live = live_of()
    assert live.run(live.archive, "--emergency", "--yes")[0] == 0
    execute(live.dsn, "INSERT INTO ventas (total) VALUES (7)")  # by the application, before somebody goes back
    with live.start("--rollback", "--yes", "--start-command", _KILL) as program:
        program.communicate(timeout=30)
    assert program.returncode == -signal.SIGKILL
    assert live.rows() == _BAD
    assert live.run(live.archive, "--emergency", "--yes")[0] == 2  # it is under way again
    assert live.run(f"--{after}", "--yes", "--start-command", "touch started")[0] == 0
    state = live.state()
    assert live.rows() == (_BAD if after == "rollback" else _GOOD + 1)
    assert live.databases() == [live.name, state.new if after == "rollback" else state.old]
    assert (live.folder / "started").exists()
    assert [path.name for path in live.folder.iterdir() if path.name.endswith(".partial")] == []


def test_rolled_back_after_the_application_was_stopped_it_is_started(live_of: Callable[..., Live]) -> None:
    live = live_of()
    with live.start(live.archive, "--emergency", "--yes", "--stop-command", _KILL) as program:
        program.communicate(timeout=30)
    assert live.run("--rollback", "--yes", "--start-command", "touch started")[0] == 0
    assert (live.folder / "started").exists()
    assert (live.rows(), live.databases()) == (_BAD, [live.name])


def test_what_a_killed_restore_left_is_dropped_though_its_oid_was_not_noted(live_of: Callable[..., Live]) -> None:
    live = live_of()
    assert live.run(live.archive, "--emergency", "--yes", "--stop-command", "false")[0] == 3
    state = live.state()
    state = state.with_step(msgspec.structs.replace(state.step("restore"), status="running"))
    write_state(live.state_file, msgspec.structs.replace(state, new_oid=None))
    status, out, _ = live.run("--rollback", "--yes")
    assert (status, f"{state.new} was dropped" in out) == (0, True)
    assert live.databases() == [live.name]


def test_what_a_killed_roll_back_has_dropped_is_not_gone_on_with(live_of: Callable[..., Live]) -> None:
    live = live_of()
    assert live.run(live.archive, "--emergency", "--yes", "--stop-command", "false")[0] == 3
    execute(live.server.conninfo(), f'DROP DATABASE "{live.state().new}"')
    status, _, err = live.run("--resume", "--yes")
    assert (status, "what was restored is no longer there" in err, "--rollback" in err) == (3, True, True)
    assert live.run("--rollback", "--yes")[0] == 0
    assert live.rows() == _BAD


def test_a_roll_back_that_is_interrupted_says_what_is_live(live_of: Callable[..., Live]) -> None:
    live = live_of()
    assert live.run(live.archive, "--emergency", "--yes")[0] == 0
    with live.start("--rollback", "--yes", "--stop-command", "sh -c 'kill -TERM $PPID; sleep 5'") as program:
        _, err = program.communicate(timeout=30)
    assert program.returncode == 130
    assert f"interrupted while it was rolled back; {live.name} is the restored database" in err
    assert live.run("--rollback", "--yes")[0] == 0
    assert live.rows() == _BAD


def test_a_lost_live_database_is_made_anew(live_of: Callable[..., Live]) -> None:
    live = live_of()
    execute(live.server.conninfo(), f"DROP DATABASE {live.name}")
    status, out, _ = live.run(live.archive, "--emergency", "--yes")
    assert status == 0
    assert "there is no database" in out
    assert live.rows() == _GOOD
    assert live.databases() == [live.name]


def test_an_archive_in_a_bucket_is_brought_and_found_again(
    live_of: Callable[..., Live], use_s3: Callable[[str], Bucket], moto_endpoint: str
) -> None:
    live, place = live_of(), use_s3(moto_endpoint)()
    client, prefix = client_of(moto_endpoint), place.rpartition("/")[2]
    for path in (live.archive, live.archive.with_name(f"{live.archive.name}.manifest.json")):
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.name}", Body=path.read_bytes())
    words = (f"--backups={place}", "--yes")
    status, out, _ = live.run("latest", "--emergency", "--stop-command", "false", *words)
    assert (status, "objects of the source's catalog" in out) == (3, True)
    assert live.state().archive == live.archive.name
    assert live.run("--resume", *words)[0] == 0
    assert live.rows() == _GOOD
    assert live.run("--rollback", "--yes")[0] == 0  # needs no archive
    assert live.rows() == _BAD


def test_one_at_a_time_and_on_one_server(live_of: Callable[..., Live], server_of: Callable[[int], Server]) -> None:
    live = live_of()
    program = live.start(live.archive, "--emergency", "--yes", "--stop-command", "sleep 5")
    _wait_for_step(live, "stop")
    assert live.run("--resume", "--yes")[0] == 11
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=30)
    elsewhere = server_of(15).conninfo(live.name)
    status, _, err = live.run("--resume", "--yes", "--dsn", elsewhere)
    assert (status, "is of another server" in err) == (3, True)


def test_two_begun_in_one_second_restore_into_two_databases(live_of: Callable[..., Live]) -> None:
    """Each drops what an interruption left of its own; with states in two folders neither knows of the other."""
    live, now = live_of(), datetime.now(UTC)
    states = []
    for _ in range(2):
        readiness = check(Request(archive=live.archive, dsn=live.dsn), live.name, now)
        states.append(begin(readiness, str(live.archive), live.name))
    first, second = states
    assert first.new != second.new
    assert first.old != second.old
    assert all(f"{state.new}".removeprefix(f"{live.name}_new_") in state.old for state in states)


def test_the_pre_checks_name_what_is_in_the_way(live_of: Callable[..., Live]) -> None:
    live, role = live_of(), f"debil_{os.urandom(4).hex()}"
    execute(live.server.conninfo(), f"CREATE ROLE {role} LOGIN")
    dsn = psycopg.conninfo.make_conninfo(live.dsn, user=role)
    readiness = check(Request(archive=live.archive, dsn=dsn), live.name, datetime.now(UTC))
    told = [obstacle.what for obstacle in readiness.obstacles]
    assert told == [f"the role {role} may not create databases", f"the role {role} may not rename {live.name}"]
    execute(live.server.conninfo(), f"DROP ROLE {role}")
    readiness = check(Request(archive=live.archive, dsn=live.dsn), live.name, datetime.now(UTC))
    assert readiness.obstacles == ()
    assert any("stays in the old database" in note for note in readiness.notes)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        pytest.param("SELECT 1", None, id="none"),
        pytest.param("CREATE TABLE x AS SELECT * FROM ventas; TRUNCATE ventas CASCADE; INSERT INTO ventas SELECT * FROM x "
                     "ORDER BY id DESC; INSERT INTO partidas SELECT id, 1 FROM ventas; DROP TABLE x", None, id="reordered"),
        pytest.param("UPDATE ventas SET total = total + 1 WHERE id = 7", "rows of public.ventas", id="value"),
        pytest.param("UPDATE ventas a SET total = b.total FROM ventas b WHERE a.id + b.id = 15 AND a.id IN (7, 8)",
                     "rows of public.ventas", id="swapped"),
        pytest.param("DELETE FROM partidas WHERE venta = 9", "rows of public.partidas", id="row"),
        pytest.param("DROP INDEX ventas_total_ix", "INDEX public.ventas_total_ix of postgres is not there", id="index"),
        pytest.param("SELECT setval('ventas_id_seq', 12)", "sequence public.ventas_id_seq", id="sequence"),
        pytest.param("SELECT lo_put(815, 0, 'otra')", "large object 815", id="large-object"),
        pytest.param("CREATE TABLE ajena ()", "TABLE public.ajena of postgres is there, and not", id="extra"),
        pytest.param("ALTER VIEW cobradas OWNER TO pg_monitor", "VIEW public.cobradas of postgres is not there", id="owner"),
        pytest.param("ALTER TABLE ventas ALTER total SET DEFAULT 7", "table public.ventas: its", id="default"),
        pytest.param("GRANT SELECT ON cobradas TO PUBLIC", "view public.cobradas: its", id="grant"),
        pytest.param("ALTER TABLE partidas DROP CONSTRAINT partidas_venta_fkey", "partidas_venta_fkey", id="key"),
    ],
)  # fmt: skip
def test_the_proof_finds_what_is_not_the_archives(
    restored: tuple[TargetServer, str, Path], damage: str, fault: str | None
) -> None:
    server, template, archive = restored
    name = f"dañada_{os.urandom(4).hex()}"
    with server.maintenance() as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        try:
            execute(server.conninfo(name), "SET search_path = public", *damage.split("; "))
            with open_dump_text(archive) as chunks:
                inventory = read_inventory(chunks)
            proof = prove(archive, inventory, read_manifest(archive), server, name)
        finally:
            conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
    if fault is None:
        assert proof.faults == ()
        assert (proof.rows, proof.tables, proof.rephrased) == (801, 3, 2)
        assert proof.objects
    else:
        assert any(fault in found for found in proof.faults), proof.faults
    assert not [found for found in proof.faults if "cobrada'" in found]


def test_an_archive_of_inserts_is_proved_by_its_rows(
    restored: tuple[TargetServer, str, Path], server_of: Callable[[int], Server], pg_dump: PgDump, tmp_path: Path
) -> None:
    """Many sessions put rows in another order than the archive has them: as sets they are compared all the same."""
    server, name, _ = restored
    archive = pg_dump(server_of(18), server.conninfo(name), tmp_path / "a.sql", "--inserts")
    with open_dump_text(archive) as chunks:
        inventory = read_inventory(chunks)
    assert prove(archive, inventory, None, server, name).faults == ()
    text = archive.read_bytes()
    first, second = b"INSERT INTO public.partidas VALUES (1, 1);\n", b"INSERT INTO public.partidas VALUES (2, 1);\n"
    for altered, faults in (
        (text.replace(first + second, second + first), ()),
        (text.replace(first, b""), ("the rows of public.partidas are not the archive's",)),
    ):
        assert altered != text
        archive.write_bytes(altered)
        with open_dump_text(archive) as chunks:
            assert prove(archive, read_inventory(chunks), None, server, name).faults == faults
    archive.write_bytes(text.replace(first, first.replace(b"1, 1", b"1, 2")))  # as a time zone would alter it
    with open_dump_text(archive) as chunks:
        proof = prove(archive, read_inventory(chunks), None, server, name)
    assert (proof.faults, proof.uncompared) == ((), ("public.partidas",))


@pytest.fixture(scope="module")
def restored(
    server_of: Callable[[int], Server], archive_of: Callable[..., Path]
) -> Iterator[tuple[TargetServer, str, Path]]:
    """A database restored from the archive, to be copied and damaged."""
    server, name, archive = server_of(18), f"restaurada_{os.urandom(4).hex()}", archive_of(18)
    request: Any = Request(archive=archive, dsn=server.conninfo(), database=name, create=True)
    carry_out(prepare(request))
    yield TargetServer(server.conninfo()), name, archive
    execute(server.conninfo(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--no-owner", "--no-acl"), id="no-owner"),
        pytest.param(("--schema=public",), id="public"),
        pytest.param(("--inserts",), id="inserts"),
        pytest.param(("--quote-all-identifiers",), id="quoted"),
        pytest.param(("--format=custom", "--no-owner"), id="custom"),
    ],
)
def test_somebody_elses_archive_of_any_form_is_proved(
    live_of: Callable[..., Live], pg_dump: PgDump, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The restored database was dumped without these options, and all that differed by them was a fault."""
    live = live_of()
    archive = pg_dump(live.server, live.server.conninfo("pgdrill_emergency_source"), tmp_path / "a.dump", *options)
    assert live.run(archive, "--emergency", "--yes")[::2] == (0, "")
    assert live.rows() == _GOOD


def test_an_archive_of_a_part_takes_no_databases_place_unasked(live_of: Callable[..., Live], tmp_path: Path) -> None:
    """One of definitions alone would have left the application without a row, and `latest` could mean one table."""
    live = live_of()
    execute(live.dsn, "CREATE TABLE nueva AS SELECT 1 AS a", "CREATE TABLE vacia ()")
    source = live.server.conninfo("pgdrill_emergency_source")
    status, _, err = live.run(live.archive, "--emergency", "--dry-run")
    assert status == 0
    parts = {kind: tmp_path / kind for kind in ("schema", "tables")}
    made = {
        "schema": make_backup(source, parts["schema"], kind="schema"),
        "tables": make_backup(source, parts["tables"], tables=["partidas"]),
    }
    for kind, result in made.items():
        status, _, err = live.run("latest", "--emergency", "--yes", "--backups", parts[kind])
        assert status != 0
        assert f"another kind, {kind}: {result.name}" in err
        assert "name it" in err
    assert made["schema"].path
    status, _, err = live.run(made["schema"].path, "--emergency", "--yes")
    assert status == 3
    assert "holds no rows, and in " in err
    assert made["tables"].path
    status, out, _ = live.run(made["tables"].path, "--emergency", "--dry-run")
    assert status == 0
    assert "with their rows in the old database alone afterwards: public.nueva, public.ventas\n" in out
    assert live.databases() == [live.name]


def test_a_live_database_that_hangs_is_not_waited_for(live_of: Callable[..., Live]) -> None:
    live = live_of()
    with psycopg.connect(live.dsn) as hanging:
        hanging.execute("LOCK TABLE ventas")
        status, out, _ = live.run(live.archive, "--emergency", "--dry-run")
    assert status == 0
    assert "does not say which tables it has" in out


def test_the_state_is_data(live_of: Callable[..., Live]) -> None:
    live = live_of()
    status, out, _ = live.run(live.archive, "--emergency", "--yes", "--json", "--stop-command", "echo noise")
    facts = json.loads(out)
    assert (status, facts["outcome"], facts["live"]) == (0, "done", live.name)
    assert "postgresql://" not in live.state_file.read_text()
