"""What is configured: the whole of it, where it came from, and what is said of each mistake."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from backup_lib.configuration import Configuration, demand_known_checks, load_configuration
from backup_lib.errors import UsageError
from backup_lib.setting_types import Secret, parse_duration_s
from backup_lib.settings import BackupSettings, DatabaseSettings, SqlCheck, Suppression, VerifySettings
from backup_lib.settings_reader import SettingsError
from backup_lib.settings_text import parse_toml

WHOLE = """
[backup]
dir = "copias"
compress = true

[verify]
rto = "1h 30m"
rpo = 90000
jobs = 2

[databases.shop]
url_env = "SHOP_URL"
kinds = ["full", "schema"]
image = "registry/postgis:16"
rto = "15m"

[databases.audit]
url = "postgresql://u:hush@h/auditoria"
to = "elsewhere"

[[checks]]
name = "no orphans"
database = "shop"
sql = '''
SELECT FROM sale_items i LEFT JOIN sales s ON s.id = i.sale_id
WHERE s.id IS NULL;
'''
rows = 0

[[checks]]
name = "rate"
sql = "SELECT rate FROM tax"
equals = 0.1

[[suppressions]]
check = "schema"
object = "INDEX legacy.*"
reason = "dropped with the next release"
owner = "ana@example.org"
expires = 2027-01-31
"""

Load = Callable[..., Configuration]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """`load(toml, env, dotenv)`: the configuration of a folder that holds these."""
    monkeypatch.chdir(tmp_path)

    def load(toml: str | None = None, env: Mapping[str, str] = {}, dotenv: str | None = None) -> Configuration:
        for name, text in (("pgdrill.toml", toml), (".env", dotenv)):
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return load_configuration(env, tmp_path)

    return load


def test_all_that_is_written_is_read(load: Load) -> None:
    settings = load(WHOLE).settings
    assert (settings.backup.dir, settings.backup.compress) == ("copias", "gzip")
    assert (settings.verify.rto_s, settings.verify.rpo_s, settings.verify.jobs) == (5400.0, 90000.0, 2)
    shop = settings.databases["shop"]
    assert (shop.kinds, shop.image, shop.rto_s, shop.rpo_s) == (("full", "schema"), "registry/postgis:16", 900.0, None)
    assert shop.url is not None
    assert shop.url.read({"SHOP_URL": "postgresql://h/x"}) == "postgresql://h/x"
    assert settings.databases["audit"].to == ("elsewhere",)
    orphans, rate = settings.checks
    assert (orphans.name, orphans.database, orphans.rows) == ("no orphans", "shop", 0)
    assert rate.equals == Decimal("0.1")
    (suppression,) = settings.suppressions
    assert suppression.expires == date(2027, 1, 31)
    assert suppression.matches("schema", "INDEX legacy.old_idx")
    assert not suppression.matches("schema", "INDEX public.old_idx")
    assert not suppression.matches("content", "INDEX legacy.old_idx")


def test_without_a_file_everything_is_at_its_default(load: Load) -> None:
    configuration = load()
    assert configuration.path is None
    assert configuration.settings.backup.dir == "backups"
    assert configuration.origins["backup", "dir"] == "default"
    assert not configuration.settings.databases


def test_a_database_is_known_by_the_name_that_archives_call_it(load: Load) -> None:
    configuration = load(WHOLE, {"SHOP_URL": "postgresql://h/pos_db_production"})
    assert configuration.label_of("pos_db_production") == "shop"
    assert configuration.label_of("auditoria") == "audit"
    assert configuration.label_of("audit") is None
    assert configuration.label_of(None) is None
    assert load(WHOLE).label_of("shop") == "shop"  # where the variable is not set, the section's name must do


# Precedence

TOML = '[backup]\ndir = "from-toml"\n'


@pytest.mark.parametrize(
    ("env", "dotenv", "value", "origin"),
    [
        pytest.param({}, None, "from-toml", "pgdrill.toml:2", id="file"),
        pytest.param({}, "# shop\n\nBACKUP_DIR='from dotenv'\n", "from dotenv", ".env:3 BACKUP_DIR", id="dotenv"),
        pytest.param({"BACKUP_DIR": "from-env"}, "BACKUP_DIR=x", "from-env", "environment BACKUP_DIR", id="environment"),
        pytest.param({"BACKUP_DIR": ""}, "BACKUP_DIR=", "from-toml", "pgdrill.toml:2", id="empty-is-unset"),
        pytest.param({}, "BACKUP_DIR_FILE=named", "held", ".env:1 BACKUP_DIR_FILE", id="dotenv-names-a-file"),
        pytest.param({"BACKUP_DIR_FILE": "named"}, "BACKUP_DIR=x", "held", "environment BACKUP_DIR_FILE", id="file-in-the-environment-first"),
        pytest.param({"BACKUP_DIR": "from-env"}, "BACKUP_DIR_FILE=named", "from-env", "environment BACKUP_DIR", id="environment-before-dotenvs-file"),
        pytest.param({}, "P=sub\nexport BACKUP_DIR=a/${P}", "a/sub", ".env:2 BACKUP_DIR", id="interpolated"),
    ],
)  # fmt: skip
def test_what_is_nearer_counts_and_is_said(
    load: Load, tmp_path: Path, env: dict[str, str], dotenv: str | None, value: str, origin: str
) -> None:
    (tmp_path / "named").write_text("held\n")
    configuration = load(TOML, env, dotenv)
    assert configuration.settings.backup.dir == value
    assert configuration.origins["backup", "dir"] == origin


def test_the_environment_is_read_without_a_file_too(load: Load) -> None:
    assert load(None, {"BACKUP_COMPRESS": "false"}).settings.backup.compress == "none"  # as the guide writes it
    assert load(None, {"BACKUP_COMPRESS": "true"}).settings.backup.compress == "gzip"


def test_a_line_of_dotenv_that_is_no_variable_is_named_and_not_quoted(load: Load) -> None:
    with pytest.raises(UsageError, match=r"\.env:2 is no variable") as caught:
        load(None, {}, "A=1\nhush hush=2\n")
    assert "hush" not in str(caught.value)


def test_a_file_elsewhere_is_named_by_option_or_variable(load: Load, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/shop.toml").write_text('[backup]\ndir = "copias"\n[databases.a]\nto = ["x", "s3://b/c", "/y"]\n')
    for found in (
        load_configuration({}, tmp_path, file=Path("conf/shop.toml")),
        load_configuration({"PGDRILL_CONFIG": "conf/shop.toml"}, tmp_path),
    ):
        assert found.settings.backup.dir == "conf/copias"  # from the folder of the file it stands in
        assert found.settings.databases["a"].to == ("conf/x", "s3://b/c", "/y")
    both = load_configuration({"PGDRILL_CONFIG": "nowhere"}, tmp_path, file=Path("conf/shop.toml"))
    assert both.path == Path("conf/shop.toml")
    with pytest.raises(UsageError, match="environment PGDRILL_CONFIG names nowhere, which is no file"):
        load(None, {"PGDRILL_CONFIG": "nowhere"})


# Mistakes


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        pytest.param("[backup]\ndirr = 1", "pgdrill.toml:2: backup.dirr is no setting; did you mean dir? (allowed: dir, compress)", id="unknown-key"),
        pytest.param("\n[verfy]", "pgdrill.toml:2: verfy is no setting; did you mean verify? (allowed: ", id="unknown-section"),
        pytest.param("[verify]\n\nlevel = 'ful'", 'pgdrill.toml:3: verify.level is "ful"; did you mean full? (allowed: integrity, restore, full)', id="unknown-word"),
        pytest.param("[verify]\nrto = 'soon'", 'pgdrill.toml:2: verify.rto is "soon": a duration is wanted, such as 90s', id="duration"),
        pytest.param("[verify]\nrto = true", "pgdrill.toml:2: verify.rto is true: a duration is wanted", id="duration-type"),
        pytest.param("[verify]\nrto_s = 5", "pgdrill.toml:2: verify.rto_s is no setting; did you mean rto?", id="nearest-of-many"),
        pytest.param("[verify]\njobs = 0", "pgdrill.toml:2: verify.jobs is 0: a whole number is wanted, from 1", id="bound"),
        pytest.param("[verify]\njobs = 'two'", 'pgdrill.toml:2: verify.jobs is "two": a whole number is wanted', id="type"),
        pytest.param("backup = 'x'", "pgdrill.toml:1: backup is a table of settings, and no single value", id="no-table"),
        pytest.param("checks = 'x'", "pgdrill.toml:1: checks is given as [[checks]], once for each", id="no-array"),
        pytest.param("databases = 1", "pgdrill.toml:1: databases is given as [databases.NAME], once for each", id="no-tables"),
        pytest.param("[databases.a]\nurl = 'hush'\nurl_file = 'x'", "pgdrill.toml:2: databases.a.url is given besides url_file: keep one", id="two-urls"),
        pytest.param("[databases.a]\nurl = 5", "pgdrill.toml:2: databases.a.url: a text is wanted", id="secret-type"),
        pytest.param("[databases.a]\nkinds = ['full',\n'shema']", 'pgdrill.toml:2: databases.a.kinds is "shema"; did you mean schema?', id="one-of-many"),
        pytest.param("[databases.a]\nkinds = []", "pgdrill.toml:1: databases.a: kinds is empty", id="no-kind"),
        pytest.param("[databases.a]\n[databases.b]\ndbname = 'a'", "pgdrill.toml:2: databases.b and databases.a are both called a", id="same-name"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nrows = 1\n[[checks]]\nname = 'b'\nsql = 's'", "pgdrill.toml:5: checks[2]: expects nothing or too much", id="no-expectation"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nrows = 1\nequals = 1", "pgdrill.toml:1: checks[1]: expects nothing or too much", id="two-expectations"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nrow = 1", "pgdrill.toml:4: checks[1].row is no setting; did you mean rows?", id="key-in-array"),
        pytest.param("[[checks]]\nname = 'a[1]'\nsql = 's'\nrows = 1", 'pgdrill.toml:2: checks[1].name is "a[1]": a name of letters', id="name"),
        pytest.param("[[checks]]\nname = 'a'\nsql = ' ;'\nrows = 1", "pgdrill.toml:1: checks[1]: sql is empty", id="no-sql"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nat_least = 2\nat_most = 1", "pgdrill.toml:1: checks[1]: at_least is above at_most", id="nothing-between"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nat_least = nan", "pgdrill.toml:4: checks[1].at_least is NaN: a number is wanted", id="not-a-number"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nequals = 2026-01-01", "pgdrill.toml:4: checks[1].equals is 2026-01-01: a number, a text, true or false", id="date"),
        pytest.param("[[checks]]\nname = 'a'\nsql = 's'\nrows = 1\n" * 2, "pgdrill.toml: two checks are called a", id="name-twice"),
        pytest.param("[schedule]\nconfig = '0 3 * * *'", "pgdrill.toml: schedule.config says when, and files.paths names no file", id="config-of-nothing"),
        pytest.param("[databases.shop]\n[[checks]]\nname = 'a'\nsql = 's'\nrows = 1\ndatabase = 'shp'", 'pgdrill.toml:6: checks[1].database is "shp"; did you mean shop? (allowed: shop)', id="unknown-database"),
        pytest.param("[[suppressions]]\ncheck = 'schema'\nobject = 'x'", "pgdrill.toml:1: suppressions[1] lacks reason", id="no-reason"),
        pytest.param("[[suppressions]]\ncheck = 'schema'\nobject = 'x'", "pgdrill.toml:1: suppressions[1] lacks owner", id="no-owner"),
        pytest.param("[[suppressions]]\ncheck = 'schema'\nobject = 'x'", "pgdrill.toml:1: suppressions[1] lacks expires", id="no-expiry"),
        pytest.param("[[suppressions]]\ncheck='schema'\nobject='x'\nreason=' '\nowner='o'\nexpires=2027-01-01", "pgdrill.toml:1: suppressions[1]: reason must not be empty", id="empty-reason"),
        pytest.param("[[suppressions]]\nexpires = 'never'", 'pgdrill.toml:2: suppressions[1].expires is "never": a day is wanted', id="no-day"),
        pytest.param("[backup]\n\ndir = ", "pgdrill.toml:3: this is not TOML: ", id="syntax"),
        pytest.param("[backup]\ndir = [", "pgdrill.toml:2: this is not TOML: ", id="unfinished"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_what_may_stand_there(load: Load, toml: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(toml)
    assert [said for said in map(str, caught.value.problems) if said.startswith(problem)], str(caught.value)
    assert caught.value.exit_status == 2
    assert "pgdrill config check" in caught.value.hint
    assert "hush" not in str(caught.value)


def test_all_mistakes_are_named_at_once(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("[backup]\nx = 1\n[verify]\nlevel = 1\njobs = 0\n", {"BACKUP_COMPRESS": "lzma"})
    assert [str(problem).partition(" ")[0] for problem in caught.value.problems] == [
        "environment", "pgdrill.toml:2:", "pgdrill.toml:4:", "pgdrill.toml:5:"
    ]  # fmt: skip
    assert 'environment BACKUP_COMPRESS: backup.compress is "lzma"' in str(caught.value)


def test_a_suppression_of_a_check_that_there_is_not_would_suppress_nothing(load: Load) -> None:
    configuration = load(WHOLE.replace('check = "schema"', 'check = "shema"'))
    with pytest.raises(
        SettingsError, match=r"did you mean schema\? \(allowed: schema, content, sql:no orphans, sql:rate\)"
    ):
        demand_known_checks(configuration, ["schema", "content"])
    demand_known_checks(load(WHOLE), ["schema", "content"])


# Values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("15 min", 900), ("1h 30m", 5400), ("1h30m", 5400), ("26H", 93600), ("1.5d", 129600), (5, 5)],
)  # fmt: skip
def test_a_duration_is_read_as_people_write_it(text: object, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "h", "5 parsecs", "0s", 0, True, [5]])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration is wanted"):
        parse_duration_s(text)


def test_a_secret_is_not_shown_and_says_where_it_is_missing(tmp_path: Path) -> None:
    assert "hush" not in repr(Secret(kind="value", text="hush"))
    (tmp_path / "url").write_text("postgresql://h/x\n")
    assert Secret(kind="file", text=str(tmp_path / "url")).read({}) == "postgresql://h/x"
    with pytest.raises(UsageError, match="the variable SHOP_URL, which the configuration names"):
        Secret(kind="variable", text="SHOP_URL").read({})
    with pytest.raises(UsageError, match="nowhere, which the configuration names, cannot be read"):
        Secret(kind="file", text="nowhere").read({})


def test_each_key_has_the_line_it_stands_on() -> None:
    text = "a = 1\n[b]\nc = [\n 1,\n]\nd.e = '''\n[x]\nf = 1\n'''\n[[g]]\n[[g]]\nh = {i = 1}\n[g.j]\nk = 1\n"
    lines = parse_toml(text)[1]
    assert lines == {
        ("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "d"): 6, ("b", "d", "e"): 6, ("g", 0): 10, ("g", 1): 11,
        ("g", 1, "h"): 12, ("g", 1, "h", "i"): 12, ("g", 1, "j"): 13, ("g", 1, "j", "k"): 14,
    }  # fmt: skip


def test_the_reference_names_every_key_and_variable() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/configuration.md").read_text("utf-8")
    for section in (BackupSettings, VerifySettings, DatabaseSettings, SqlCheck, Suppression):
        for field in fields(section):
            assert re.search(rf"`(\w+\.)?{field.metadata['key'] or field.name}`", page), field.name
            assert not field.metadata["env"] or f"`{field.metadata['env']}`" in page
