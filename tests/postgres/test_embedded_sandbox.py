"""The embedded sandbox: a throwaway server that ends with its owner, whatever ends the owner."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from drilling import DrillOf

from backup_lib.backup import make_backup
from backup_lib.errors import ProgramError, ServerError, UsageError
from backup_lib.run_folder import PREFIX
from backup_lib.server_programs import NEWEST_MAJOR, Programs
from backup_lib.servers import Server
from verification.sandbox.embedded import start_embedded
from verification.sandbox.reaper import reap_folders

pytestmark = pytest.mark.postgres

ProgramsOf = Callable[[int], Programs]
MIB = 1 << 20


def execute(conninfo: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, each by itself; the rows of the last."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        return rows


def test_every_major_serves_and_dumps(major: int, programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(major), memory_bytes=512 * MIB, jobs=2) as sandbox:
        rows = execute(
            sandbox.conninfo("postgres"),
            "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g",
            "SHOW server_version",
        )
        assert rows == [(sandbox.server_version,)]
        with sandbox.dump("postgres", ["--data-only"]) as chunks:
            assert b"".join(chunks).count(b"\n1000\n") == 1


def test_a_failed_dump_is_an_error_that_says_why(programs_of: ProgramsOf) -> None:
    with (
        start_embedded(programs_of(NEWEST_MAJOR)) as sandbox,
        pytest.raises(ProgramError, match='database "nonsense" does not exist'),
        sandbox.dump("nonsense", []) as chunks,
    ):
        list(chunks)


def test_the_bootstrap_superuser_has_the_sources_name(programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(NEWEST_MAJOR), bootstrap_role="rdsadmin") as sandbox:
        rows = execute(sandbox.conninfo("postgres"), "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")
        assert rows == [("rdsadmin",)]
        with sandbox.dump("postgres", []) as chunks:
            assert b"dump complete" in b"".join(chunks)


def test_settings_an_archive_brings_do_not_change_what_is_dumped(programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(NEWEST_MAJOR)) as sandbox:
        execute(
            sandbox.conninfo("postgres"),
            "CREATE TABLE t AS SELECT timestamptz '2026-01-01 12:00+00' AS at",
            "ALTER DATABASE postgres SET timezone = 'Asia/Tokyo'",
        )
        with sandbox.dump("postgres", ["--data-only"]) as chunks:
            assert b"2026-01-01 12:00:00+00" in b"".join(chunks)


def test_it_is_fast_and_forgetful_and_says_so(programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(NEWEST_MAJOR)) as sandbox:
        settings = sandbox.facts["settings"]
        names = ("fsync", "full_page_writes", "synchronous_commit", "wal_level", "autovacuum", "jit")
        shown = execute(
            sandbox.conninfo("postgres"), *["SELECT " + ", ".join(f"current_setting('{n}')" for n in names)]
        )
    assert shown == [("off", "off", "off", "minimal", "off", "off")]
    assert all(f"{name}={value}" in settings for name, value in zip(names, shown[0], strict=True))


def test_what_the_programs_lack_is_among_the_facts(wheel: Programs) -> None:
    with start_embedded(wheel) as sandbox:
        assert sandbox.facts["built without"] == "icu, libxml, openssl, lz4"


def test_workers_of_a_parallel_query_can_share_memory(programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(NEWEST_MAJOR)) as sandbox:
        plan = execute(
            sandbox.conninfo("postgres"),
            "CREATE TABLE t AS SELECT g, md5(g::text) m FROM generate_series(1, 50000) g",
            "SET min_parallel_table_scan_size = 0",
            "SET parallel_setup_cost = 0",
            "SET parallel_tuple_cost = 0",
            "EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM t a JOIN t b USING (m)",
        )
    assert any("Workers Launched: 2" in line for (line,) in plan)


def test_a_restore_may_touch_ten_thousand_tables_in_one_transaction(programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(NEWEST_MAJOR)) as sandbox:
        execute(
            sandbox.conninfo("postgres"),
            "DO $$BEGIN FOR i IN 1..10000 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END$$",
        )


def test_a_query_that_wants_too_much_memory_fails_alone(programs_of: ProgramsOf) -> None:
    with start_embedded(programs_of(NEWEST_MAJOR), memory_bytes=256 * MIB) as sandbox:
        with pytest.raises(psycopg.errors.OutOfMemory):
            execute(
                sandbox.conninfo("postgres"),
                "SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, 600000)",
            )
        assert execute(sandbox.conninfo("postgres"), "SELECT 1") == [(1,)]


def test_too_little_memory_for_a_server_is_refused(programs_of: ProgramsOf) -> None:
    with pytest.raises(UsageError, match="too small"), start_embedded(programs_of(NEWEST_MAJOR), memory_bytes=MIB):
        pass


def test_a_crash_is_told_as_the_reason(programs_of: ProgramsOf) -> None:
    """One backend that dies ends the server: what it would recover to proves nothing."""
    with (
        pytest.raises(ServerError, match="ended by itself"),
        start_embedded(programs_of(NEWEST_MAJOR)) as sandbox,
    ):
        execute(sandbox.conninfo("postgres"), "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; kill -9 $PPID'")


@pytest.mark.parametrize("namespaces", ["with-namespaces", "without-namespaces"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_dies_with_its_owner_and_the_next_run_clears_up(
    programs_of: ProgramsOf, number: signal.Signals, namespaces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = programs_of(NEWEST_MAJOR)
    if namespaces == "without-namespaces":
        monkeypatch.setenv("WITHOUT_NAMESPACES", "1")
    with _owner(programs) as owner:
        folder, pids = _started(owner)
        assert len(pids) > 3
        owner.send_signal(number)
    assert _gone_within(pids, seconds=5)
    assert folder.exists(), "nobody was left to remove it"
    assert folder in reap_folders()
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_without_root_it_works_and_dies_with_its_owner_too(programs_of: ProgramsOf) -> None:
    home = Path(tempfile.mkdtemp(prefix="pgdrill-test-home-"))  # tmp_path is below a folder of root's
    os.chown(home, 65534, 65534)
    try:
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        with _owner(programs_of(NEWEST_MAJOR), prefix=drop, home=home) as owner:
            folder, pids = _started(owner)
            assert folder.is_relative_to(home)
            assert (folder / "data").stat().st_uid == 65534
            assert owner.stdout is not None
            assert re.match("none: an empty|the machine's: unshare", owner.stdout.readline())
            owner.kill()
        assert _gone_within(pids, seconds=5)
    finally:
        shutil.rmtree(home)


OWNER = """
import os, sys, time, psycopg
from pathlib import Path
from backup_lib.server_programs import find_programs
from backup_lib import isolation
from verification.sandbox.embedded import start_embedded
if "WITHOUT_NAMESPACES" in os.environ:
    isolation._NAMESPACES = ((),)
programs = next(p for p in find_programs() if p.bin_dir == Path(sys.argv[1]))
with start_embedded(programs) as sandbox:
    with psycopg.connect(sandbox.conninfo("postgres")) as connection:
        data_dir = connection.execute("show data_directory").fetchone()[0]
    print(data_dir, sandbox.facts["network"], sep="\\n", flush=True)
    time.sleep(60)
"""


def _owner(programs: Programs, *, prefix: list[str] | None = None, home: Path | None = None) -> subprocess.Popen[str]:
    """A process of its own with a sandbox. Another account can run another Python, with the same packages."""
    python = "/usr/bin/python3" if prefix else sys.executable
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    if prefix:
        env["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), *(p for p in sys.path if "site-packages" in p)])
    if home:
        env |= {"HOME": str(home), "TMPDIR": str(home), "PGDRILL_SERVERS": str(programs.bin_dir)}
        env.pop("XDG_CACHE_HOME", None)
    return subprocess.Popen(
        [*(prefix or []), python, "-c", OWNER, str(programs.bin_dir)], stdout=subprocess.PIPE, text=True, env=env
    )


def _started(owner: subprocess.Popen[str]) -> tuple[Path, list[int]]:
    """The folder of the owner's sandbox, and all processes that know of it."""
    assert owner.stdout is not None
    data_dir = owner.stdout.readline().strip()
    assert data_dir, "the owner failed"
    folder = Path(data_dir).parent
    assert folder.name.startswith(PREFIX)
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _cwd(entry) == data_dir:
            pids.append(int(entry.name))
    return folder, pids


def _cwd(entry: Path) -> str:
    try:
        return str((entry / "cwd").readlink())
    except OSError:
        return ""


def _gone_within(pids: list[int], *, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_a_drill_says_why_its_server_died(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    path = make_backup(dsn, tmp_path, compression="none").path
    assert path is not None
    text = path.read_bytes()
    kill = b"COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; kill -9 $PPID';\n"
    path.write_bytes(text.replace(b"CREATE TABLE public.t (", kill + b"CREATE TABLE public.t ("))
    record = drill_of(path)
    assert record.verdict != "verified"
    said = " ".join(finding.actual for finding in record.findings)
    assert "the server ended by itself" in said, said
