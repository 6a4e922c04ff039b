"""What a killed run leaves among the reports goes with the next one; what a living one is at stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from verification.evidence.folder import clear, passing

_KILLED = """
import os, sys
from pathlib import Path
from verification.evidence.folder import passing
reports = Path(sys.argv[1])
passing(reports, "junit.xml").touch()
passing(reports, "nowhere").symlink_to("nowhere")
passing(reports, "latest").symlink_to("a")
folder = passing(reports, "a.partial")
folder.mkdir()
(folder / "record.json").touch()
os.kill(os.getpid(), 9)
"""
_DAY_S = 24 * 3600


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, tmp_path], check=False)
    assert len(list(tmp_path.iterdir())) == 4
    own = passing(tmp_path, "b.partial")
    own.mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "record.json").touch()
    clear(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([own, tmp_path / "a"])
    assert (tmp_path / "a" / "record.json").exists()


def test_what_another_machine_left_goes_after_a_day(tmp_path: Path) -> None:
    new, old = tmp_path / ".a-by-elsewhere.1.2", tmp_path / ".b-by-elsewhere.1.2"
    for path, days in ((new, 0), (old, 2)):
        path.touch()
        os.utime(path, times=(time.time() - days * _DAY_S,) * 2)
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == [new]
