"""A drill killed at any moment: no server outlives it, and the next run leaves nothing of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_lib.backup import make_backup
from backup_lib.run_folder import PREFIX
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

WAIT_S = 60


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A TMPDIR that the server's account can pass through, with nothing of anybody else's in it."""
    folder = Path(tempfile.mkdtemp(prefix="pgdrill-killed-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start_suite(work: Path, temporary: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "verification"]
    with (work / "said").open("ab") as said:
        return subprocess.Popen(
            [*argv, "--sandbox", "embedded"],
            cwd=work,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=said,
            stderr=said,
        )


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, f"waited {WAIT_S} s for {what}"
        time.sleep(0.01)


def processes_in(folder: Path) -> list[str]:
    """Command lines that name the folder: a server's does."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def is_ready(folder: Path) -> bool:
    return any(b"ready" in path.read_bytes() for path in folder.glob(f"{PREFIX}*/data/postmaster.pid"))


def is_restored(folder: Path) -> bool:
    """A second database beside those of initdb."""
    return any(len(list(path.iterdir())) > 3 for path in folder.glob(f"{PREFIX}*/data/base"))


def test_killed_while_starting_restoring_and_checking_nothing_stays(
    server: Server, fresh_database: Callable[..., str], temporary: Path, tmp_path: Path
) -> None:
    make_backup(fresh_database(server), tmp_path / "backups")
    moments: dict[str, Callable[[Path], bool]] = {
        "its folder": lambda folder: any(folder.glob(f"{PREFIX}*")),
        "its server": is_ready,
        "its database": is_restored,
    }
    for what, has_come in moments.items():
        victim = start_suite(tmp_path, temporary)
        wait_for(what, lambda has_come=has_come: has_come(temporary))  # type: ignore[misc]
        victim.send_signal(signal.SIGKILL)
        victim.wait(WAIT_S)
        wait_for("the server to end", lambda: not processes_in(temporary))
    last = start_suite(tmp_path, temporary)
    assert last.wait(WAIT_S) == 0, (tmp_path / "said").read_text()
    assert not list(temporary.glob(f"{PREFIX}*"))
    assert not processes_in(temporary)
    drills = [path for path in (tmp_path / "reports").iterdir() if path.is_dir() and not path.is_symlink()]
    assert [(path / "record.json").is_file() for path in drills] == [True]
