"""Collecting the suite is quick: it says what would be asked, and imports nothing that asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_collecting_imports_no_check_no_driver_and_no_view(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "pos_backup_20250101_000000.sql").write_bytes(b"--\n-- PostgreSQL database dump\n--\n")
    heavy = ("psycopg", "jinja2", "rich", "verification.checks", "verification.drill", "backup_lib.dump_reader")
    code = (
        "import sys, pytest\n"
        "status = pytest.main(['--pyargs', 'verification', '--collect-only', '-q'])\n"
        f"print(int(status), [name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "test_bytes_are_intact[latest]" in run.stdout
    assert run.stdout.splitlines()[-1] == "0 []"
