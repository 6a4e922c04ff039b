"""What is watched between drills, from real archives and a real drill: as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drilling import execute
from test_cli_postgres import Pgdrill, dsn, pgdrill  # noqa: F401 - fixtures

from backup_lib.backup import make_backup

pytestmark = pytest.mark.postgres


@pytest.mark.usefixtures("server")
def test_a_table_that_is_emptied_after_a_good_drill_is_a_problem(pgdrill: Pgdrill, dsn: str, tmp_path: Path) -> None:
    execute(dsn, "CREATE TABLE rates AS SELECT generate_series(1, 3) AS rate")
    first = pgdrill("status", dsn=dsn)
    assert (first.returncode, "there is no full archive of" in first.stdout) == (1, True)
    for _ in range(5):
        make_backup(dsn, tmp_path / "backups")
    unproved = json.loads(pgdrill("status", "--json", dsn=dsn).stdout)
    assert [p["code"] for p in unproved["series"][0]["problems"]] == ["never-verified"]
    address = unproved["series"][0]["newest"]["address"]
    assert pgdrill("verify", address, "--sandbox", "embedded", "--level", "restore").returncode == 0
    well = pgdrill("status", dsn=dsn)
    assert (well.returncode, well.stdout.splitlines()[-1]) == (0, "all is well")
    execute(dsn, "TRUNCATE rates")
    make_backup(dsn, tmp_path / "backups")
    wrong = pgdrill("status", dsn=dsn)
    assert wrong.returncode == 1
    assert "a table is empty that had rows before: public.rates" in wrong.stdout
    assert "PROBLEM" in wrong.stdout
