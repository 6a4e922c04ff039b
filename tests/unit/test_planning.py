"""Which settings an archive is drilled with: the command line's, its database's, the project's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_lib.catalog import Found
from backup_lib.configuration import Configuration, load_configuration
from backup_lib.settings_reader import SettingsError
from backup_lib.store import LocalStore
from verification.drill import Drill
from verification.planning import Asked, Plan, check_configuration, plan_drill

TOML = """
[verify]
level = "restore"
sandbox = "embedded"
image = "postgres:17"
jobs = 3
rto = "1h"
rpo = "2d"

[databases.shop]
dbname = "pos_db"
image = "registry/postgis:16"
rto = "15m"

[databases.audit]

[[checks]]
name = "everywhere"
sql = "SELECT 1"
equals = 1

[[checks]]
name = "in the shop"
sql = "SELECT 1"
equals = 1
database = "shop"

[[suppressions]]
check = "schema"
object = "*"
reason = "r"
owner = "o"
expires = 2099-01-01
database = "shop"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "pgdrill.toml").write_text(TOML)
    return load_configuration({}, tmp_path)


def found_of(database: str | None, folder: Path = Path()) -> Found:
    return Found(
        name="a.sql", store=LocalStore(folder), size_bytes=1, taken_at=datetime.now(UTC), taken_at_from="name",
        has_manifest=False, database=database, kind="full",
    )  # fmt: skip


def names(plan: Plan) -> list[tuple[str, str | None]]:
    return [(check.name, check.database) for check in plan.sql_checks]


def test_a_database_goes_before_the_project(configuration: Configuration) -> None:
    plan = plan_drill(configuration, Asked(), found_of("pos_db"))
    assert (plan.level, plan.sandbox, plan.jobs) == ("restore", "embedded", 3)
    assert (plan.image, plan.rto_s, plan.rpo_s) == ("registry/postgis:16", 900.0, 172800.0)
    assert names(plan) == [("everywhere", None), ("in the shop", "pos_db")]
    assert len(plan.suppressions) == 1
    assert plan.not_proved == ()


def test_the_command_line_goes_before_both(configuration: Configuration) -> None:
    asked = Asked(level="full", sandbox="auto", image="own", jobs=1, rto_s=0.0, rpo_s=5.0)
    plan = plan_drill(configuration, asked, found_of("pos_db"))
    assert (plan.level, plan.sandbox, plan.jobs) == ("full", "auto", 1)
    assert (plan.image, plan.rto_s, plan.rpo_s) == ("own", 0.0, 5.0)


def test_another_databases_settings_are_not_used(configuration: Configuration) -> None:
    plan = plan_drill(configuration, Asked(), found_of("audit"))
    assert (plan.image, plan.rto_s) == ("postgres:17", 3600.0)
    assert names(plan) == [("everywhere", None)]
    assert plan.suppressions == ()


def test_a_database_without_a_section_is_drilled_by_the_projects_and_it_is_said(configuration: Configuration) -> None:
    plan = plan_drill(configuration, Asked(), found_of("otra"))
    assert plan.image == "postgres:17"
    assert names(plan) == [("everywhere", None)]
    assert "no section for the database otra" in plan.not_proved[0]


def test_an_archive_that_does_not_name_its_database_is_covered_by_nobody(configuration: Configuration) -> None:
    plan = plan_drill(configuration, Asked(), found_of(None))
    assert plan.suppressions == ()
    assert "which it does not name" in plan.not_proved[0]
    assert names(plan) == [("everywhere", None), ("in the shop", "pos_db")]  # that it is not asked goes on record


def test_no_query_is_asked_of_an_archive_that_is_only_read(configuration: Configuration, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_bytes(b"")
    for level, asked in (("integrity", False), ("restore", True)):
        plan = plan_drill(configuration, Asked(level=level), found_of("pos_db", tmp_path))  # type: ignore[arg-type]
        drill = Drill(found_of("pos_db", tmp_path), tmp_path / "a.sql", plan, drill_id="one")
        assert ("sql:everywhere" in [check.name for check in drill.checks]) is asked


def test_a_suppression_names_a_check_of_the_suite(tmp_path: Path, configuration: Configuration) -> None:
    check_configuration(configuration)
    (tmp_path / "pgdrill.toml").write_text(TOML.replace('check = "schema"', 'check = "contents"'))
    with pytest.raises(
        SettingsError, match=r'pgdrill.toml:29: suppressions\[1\].check is "contents"; did you mean content\?'
    ):
        check_configuration(load_configuration({}, tmp_path))
    (tmp_path / "pgdrill.toml").write_text(TOML.replace('check = "schema"', 'check = "sql:in the shop"'))
    check_configuration(load_configuration({}, tmp_path))
