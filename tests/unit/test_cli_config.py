"""The commands about the configuration, and what every other command takes from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from backup_lib.cli.config import mask_dsn
from backup_lib.cli.configured import hoist_config, lent
from backup_lib.cli.several import back_up_each
from backup_lib.cli.talk import put_json
from backup_lib.configuration import Configuration, load_configuration
from backup_lib.errors import UsageError
from backup_lib.settings_template import Answers, render_template
from backup_lib.targets import KnownDsn, Target, choose_targets
from backup_lib.variables import LENT

UNITS = [f"{task}.{unit}" for task in ("backup", "drill") for unit in ("service", "timer")]


class Said(NamedTuple):
    status: int
    out: str
    err: str


def pgdrill(folder: Path, *words: str, **env: str) -> Said:
    """In a process of its own: a configuration is lent to the environment of the one that reads it."""
    silent = ("BACKUP_", "PG", "POSTGRES_", "DATABASE_URL")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    program = "import sys; from backup_lib.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**clean, "PYTHONPATH": str(Path(__file__).parents[2]), **env},
    )  # fmt: skip
    return Said(run.returncode, run.stdout, run.stderr)


def configuration(folder: Path, toml: str, env: dict[str, str] | None = None) -> Configuration:
    (folder / "pgdrill.toml").write_text(toml)
    return load_configuration(env or {}, folder)


# init


def test_init_writes_what_check_finds_no_mistake_in_and_nothing_over_another_file(tmp_path: Path) -> None:
    made = pgdrill(tmp_path, "init", "--yes")
    assert made.status == 0, made.err
    assert (tmp_path / "pgdrill.toml").stat().st_mode & 0o077 == 0
    assert "no mistake; 1 database" in pgdrill(tmp_path, "config", "check").out
    before = (tmp_path / "pgdrill.toml").read_bytes()
    again = pgdrill(tmp_path, "init", "--yes")
    assert (again.status, (tmp_path / "pgdrill.toml").read_bytes()) == (2, before)
    assert "is there already" in again.err


def test_a_dry_run_of_init_writes_nothing(tmp_path: Path) -> None:
    assert "[databases." in pgdrill(tmp_path, "init", "--dry-run").out
    assert not list(tmp_path.iterdir())


def test_the_template_says_what_was_answered_and_explains_every_setting(tmp_path: Path) -> None:
    answers = Answers(database='la "tienda"\\n°1', dir="/mnt/c d", rto="20m", rpo="2d", url_variable="SHOP_URL")
    text = render_template(answers)
    read = configuration(tmp_path, text, {"SHOP_URL": "postgresql://h/x"}).settings
    assert list(read.databases) == ['la "tienda"\\n°1']
    assert (read.backup.dir, read.verify.rto_s, read.verify.rpo_s) == ("/mnt/c d", 1200.0, 172800.0)


def test_every_setting_of_the_template_can_be_taken_out_of_its_comment(tmp_path: Path) -> None:
    lines = render_template(Answers()).replace('url_env = "DATABASE_URL"\n', "").splitlines()
    uncommented = [line.removeprefix("# ") if _is_setting(line) else line for line in lines]
    settings = configuration(tmp_path, "\n".join(uncommented)).settings
    assert settings.databases["shop"].to == ("backups", "/mnt/usb/backups")
    assert [check.name for check in settings.checks] == ["sales are not empty", "no items without a sale"]
    assert settings.suppressions[0].owner == "ana@example.org"


def _is_setting(line: str) -> bool:
    text = line.removeprefix("# ")
    if not line.startswith("# ") or not ("=" in text or text.startswith("[[")):
        return False
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


# check and show

MISTAKE = '[backup]\ndirr = "x"\n'


def test_check_names_every_mistake_and_exits_2(tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text(MISTAKE + "[verify]\nlevel = 'ful'\n")
    said = pgdrill(tmp_path, "config", "check")
    assert (said.status, said.out) == (2, "")
    assert "pgdrill.toml:2: backup.dirr is no setting; did you mean dir? (allowed: dir, compress)" in said.err
    assert 'pgdrill.toml:4: verify.level is "ful"; did you mean full?' in said.err
    told = json.loads(pgdrill(tmp_path, "config", "check", "--json").out)
    assert [problem["nearest"] for problem in told["problems"]] == ["dir", "full"]
    assert told["problems"][0]["where"] == "pgdrill.toml:2"


def test_check_knows_the_checks_that_a_suppression_may_name(tmp_path: Path) -> None:
    entry = "[[suppressions]]\ncheck = 'contents'\nobject = '*'\nreason = 'x'\nowner = 'x'\nexpires = 2099-01-01"
    (tmp_path / "pgdrill.toml").write_text(entry)
    said = pgdrill(tmp_path, "config", "check")
    assert said.status == 2
    assert "did you mean content?" in said.err


def test_check_warns_of_a_url_that_others_can_read_or_nobody(tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text(
        "[databases.a]\nurl = 'postgresql://u:hush@h/a'\n[databases.b]\nurl_env = 'NOWHERE'\n"
        "[databases.c]\nurl = 'postgresql://u:hush@h/c?x=1'\n"
    )
    (tmp_path / "pgdrill.toml").chmod(0o644)
    said = pgdrill(tmp_path, "config", "check")
    assert said.status == 0
    assert "pgdrill.toml:2: databases.a.url can be read by others: chmod 600" in said.err
    assert "databases.b: the variable NOWHERE, which the configuration names, is empty or not set" in said.err
    assert "databases.c: the connection string cannot be read" in said.err
    assert "hush" not in said.out + said.err


def test_show_masks_secrets_and_says_where_each_value_is_from(tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text(
        "[databases.a]\nurl = 'postgresql://u:hush@h/a'\nrto = '15m'\n[databases.b]\nurl_file = '/run/secrets/b'\n"
    )
    (tmp_path / ".env").write_text("BACKUP_COMPRESS=zstd\nPGPASSWORD=hush\n")
    words = ("config", "show", "--json")
    said = pgdrill(tmp_path, *words, BACKUP_DIR="copias", DATABASE_URL="postgresql://u:hush@h/d")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    assert shown["backup.dir"] == {"value": "copias", "from": "environment BACKUP_DIR"}
    assert shown["backup.compress"] == {"value": "zstd", "from": ".env:1 BACKUP_COMPRESS"}
    assert shown["verify.level"] == {"value": "full", "from": "default"}
    assert shown["databases.a.rto"] == {"value": 900.0, "from": "pgdrill.toml:3"}
    assert shown["databases.b.url"] == {"value": "the file /run/secrets/b", "from": "pgdrill.toml:5"}
    assert shown["databases.a.url"]["value"] == "user=u password=*** dbname=a host=h"
    assert shown["PGPASSWORD"] == {"value": "***", "from": ".env:2 PGPASSWORD"}
    text = pgdrill(tmp_path, "config", "show", BACKUP_DIR="copias").out
    assert "environment BACKUP_DIR" in text
    assert "hush" not in said.out + text


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:hush@h/d?sslpassword=hush", "host=h password='hush'", "postgresql://u:hush@h/c?x=1"]
)
def test_no_secret_of_a_connection_string_is_shown(dsn: str) -> None:
    assert "hush" not in mask_dsn(dsn)


# What other commands take from it


def test_a_mistake_stops_other_commands_before_they_do_anything(tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text(MISTAKE)
    said = pgdrill(tmp_path, "list")
    assert said.status == 2
    assert said.err.startswith("error: pgdrill.toml:2: backup.dirr is no setting")


@pytest.mark.parametrize(
    "words", [("--config", "c/x.toml", "list"), ("list", "--config", "c/x.toml"), ("list", "--config=c/x.toml")]
)
def test_the_file_is_named_before_or_after_the_command(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c/x.toml").write_text('[backup]\ndir = "copias"\n')
    assert "the folder c/copias does not exist" in pgdrill(tmp_path, *words).err


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = pgdrill(tmp_path, "list", "--config", "nowhere.toml")
    assert (said.status, said.err.splitlines()[0]) == (2, "error: --config names nowhere.toml, which is no file")


def test_options_find_the_folder_of_env_file_and_configuration(tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text('[backup]\ndir = "of toml"\n')
    assert "the folder of toml does not exist" in pgdrill(tmp_path, "list").err
    (tmp_path / ".env").write_text("BACKUP_DIR=of dotenv\n")
    assert "the folder of dotenv does not exist" in pgdrill(tmp_path, "list").err
    assert "the folder of env does not exist" in pgdrill(tmp_path, "list", BACKUP_DIR="of env").err
    assert "the folder asked does not exist" in pgdrill(tmp_path, "list", "--backups", "asked", BACKUP_DIR="of env").err


def test_only_what_nothing_nearer_says_is_lent(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / ".env").write_text("PGSSLMODE=require\nPGPASSWORD=no\nBACKUP_COMPRESS=\n")
    toml = '[backup]\ndir = "d"\ncompress = true\n'
    env = {"PGPASSWORD_FILE": str(tmp_path / "secret"), "BACKUP_DIR": ""}
    assert lent(configuration(tmp_path, toml, env)) == {
        "PGSSLMODE": "require",
        "BACKUP_DIR": "d",
        "BACKUP_COMPRESS": "gzip",
        "PGDRILL_LENT": "BACKUP_DIR BACKUP_COMPRESS",
    }


def test_what_was_lent_is_still_the_file_s_to_whoever_reads_it_again(tmp_path: Path) -> None:
    """Else a database's own places would give way to BACKUP_DIR in each command that another one runs."""
    toml = '[backup]\ndir = "d"\n[databases.shop]\nurl = "postgresql://u@h/shop"\nto = ["a", "b"]\n'
    first = configuration(tmp_path, toml, {})
    again = configuration(tmp_path, toml, lent(first))
    assert (again.settings, again.origins) == (first.settings, first.origins)
    (target,) = choose_targets(again, [], kind=None)
    assert len(target.to) == 2
    moved = configuration(tmp_path, toml, {"BACKUP_DIR": "elsewhere"})
    assert choose_targets(moved, [], kind=None)[0].to == ()


def test_words_after_a_double_dash_are_no_options() -> None:
    assert hoist_config(["verify", "--", "--config", "x"]) == ["verify", "--", "--config", "x"]
    assert hoist_config(["verify", "--config"]) == ["--config", "verify"]


# Several databases

TWO = """
[backup]
dir = "backups"
[databases.shop]
url_env = "SHOP_URL"
kinds = ["full", "schema"]
to = "elsewhere"
[databases.audit]
url = "postgresql://h/audit"
"""


def targets(folder: Path, toml: str, *names: str, **env: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    found = choose_targets(configuration(folder, toml, env), names, kind=None)
    return [(one.label, one.dsn, one.kind, one.to) for one in found]


def test_every_database_is_backed_up_as_it_is_configured(tmp_path: Path) -> None:
    url = "postgresql://h/shop"
    assert targets(tmp_path, TWO, SHOP_URL=url, DATABASE_URL="postgresql://other/x") == [
        ("shop", url, "full", ("elsewhere",)),
        ("shop", url, "schema", ("elsewhere",)),
        ("audit", "postgresql://h/audit", "full", ()),
    ]
    assert targets(tmp_path, TWO, "audit") == [("audit", "postgresql://h/audit", "full", ())]
    assert targets(tmp_path, TWO, "shop", SHOP_URL=url, BACKUP_DIR="said")[0][3] == ()


def test_the_environment_names_the_only_database(tmp_path: Path) -> None:
    one = "[databases.shop]\nurl = 'postgresql://h/shop'\n"
    assert targets(tmp_path, one)[0][1] == "postgresql://h/shop"
    assert targets(tmp_path, one, PGHOST="x")[0][1] == "postgresql://h/shop"
    assert targets(tmp_path, one, DATABASE_URL="postgresql://near/shop")[0][1] == "postgresql://near/shop"
    assert targets(tmp_path, "[databases.shop]\n", PGHOST="x")[0][1] == "host=x"
    assert targets(tmp_path, "[backup]\n") == []


@pytest.mark.parametrize(
    ("toml", "names", "message"),
    [
        pytest.param(TWO, ("shopp",), r"no database shopp is configured\nhint: did you mean shop\?", id="nearest"),
        pytest.param("", ("shop",), r"no database shop is configured\nhint: \[databases.NAME\]", id="none"),
        pytest.param(TWO, (), "the variable SHOP_URL, which the configuration names", id="variable-not-set"),
        pytest.param(
            TWO + "[databases.third]", ("third",), "databases.third does not say how it is reached", id="no-url"
        ),
    ],
)
def test_a_database_that_cannot_be_meant_is_named(
    tmp_path: Path, toml: str, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        targets(tmp_path, toml, *names)


# Encryption and retention


def test_encryption_of_the_file_is_lent_and_the_environment_takes_its_place_as_a_whole(tmp_path: Path) -> None:
    toml = """
        [encryption]
        recipients = ["age1a", "ssh-ed25519 AAAA ana"]
        recipients_file = "keys/recipients"
        password_file = "keys/password"
        identity_file = "keys/identity"
        """
    told = lent(configuration(tmp_path, toml))
    assert told.pop(LENT)
    assert told == {
        "BACKUP_RECIPIENTS": "age1a,ssh-ed25519 AAAA ana",
        "BACKUP_RECIPIENTS_FILE": "keys/recipients",
        "BACKUP_ENCRYPT_PASSWORD_FILE": "keys/password",
        "BACKUP_IDENTITY_FILE": "keys/identity",
    }
    named = {"BACKUP_RECIPIENTS": "age1b", "BACKUP_ENCRYPT_PASSWORD": "x"}
    assert set(lent(configuration(tmp_path, toml, named))) == {"BACKUP_IDENTITY_FILE", LENT}


def test_a_file_of_recipients_is_read_without_its_comments(tmp_path: Path) -> None:
    (tmp_path / "recipients").write_text("# ana, of the shop\nage1a\n\nage1b, age1c\n")
    env = {"BACKUP_RECIPIENTS_FILE": str(tmp_path / "recipients"), "BACKUP_ENCRYPT": "Yes"}
    settings = configuration(tmp_path, "", env).settings.encryption
    assert (settings.recipients, settings.encrypt) == (("age1a", "age1b", "age1c"), True)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('recipients = ["AGE-SECRET-KEY-1QQQ"]', "recipients holds a secret key"),
        ('encrypt = false\nrecipients = "age1a"', "encrypt is false, and there are recipients"),
        ("encrypt = 3", "true or false is wanted"),
        ('password = "x"', "did you mean password_file?"),
    ],
)
def test_a_mistake_about_encryption_is_said_without_the_secret(tmp_path: Path, toml: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        configuration(tmp_path, f"[encryption]\n{toml}\n")
    assert said in str(caught.value)
    assert "1QQQ" not in str(caught.value)


def test_retention_of_the_file_counts_for_prune_and_rotate(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    for day in ("20250101", "20250201", "20250301"):
        (tmp_path / "backups" / f"pos_backup_{day}_020000.sql").write_bytes(b"--\n-- PostgreSQL database dump\n--\n")
    (tmp_path / "pgdrill.toml").write_text("[retention]\nkeep_days = 7\nkeep_monthly = 3\nrotate_days = 100000\n")
    told = json.loads(pgdrill(tmp_path, "rotate", "--dry-run", "--json").out)["archives"]
    assert {one["action"] for one in told} == {"keep"}
    assert "the youngest of its month" in told[-1]["reason"]
    shown = json.loads(pgdrill(tmp_path, "config", "show", "--json", BACKUP_KEEP_DAILY="4").out)
    assert shown["retention.keep_monthly"] == {"value": 3, "from": "pgdrill.toml:3"}
    assert shown["retention.keep_daily"] == {"value": 4, "from": "environment BACKUP_KEEP_DAILY"}
    help_of = pgdrill(tmp_path, "prune", "--help").out
    assert "BACKUP_KEEP_MONTHLY" in help_of


def test_several_backups_are_one_document_and_one_that_fails_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    def backup(*, dsn: str, kind: str) -> None:
        if dsn == "down":
            raise UsageError("it is down", hint="start it")
        put_json({"database": dsn, "kind": kind})

    both = [Target(label=name, dsn=KnownDsn(name), kind="full", to=()) for name in ("shop", "down")]
    with pytest.raises(typer.Exit):
        back_up_each(both, backup, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told[0] == {"database": "shop", "kind": "full"}
    assert (told[1]["database"], told[1]["error"]) == ("down", "it is down")
    back_up_each(both[:1], backup, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"database": "shop", "kind": "full"}


def test_init_and_the_schedules_are_json_too(tmp_path: Path) -> None:
    told = json.loads(pgdrill(tmp_path, "init", "--yes", "--json").out)
    assert (told["path"], told["written"]) == ("pgdrill.toml", True)
    assert told["text"] == (tmp_path / "pgdrill.toml").read_text()
    units = tmp_path / "units"
    units.mkdir()
    for words, paths in [
        (("cron", "--tz", "UTC"), ["crontab"]),
        (("systemd", "--units", str(units), "--install"), [f"{units}/pgdrill-{n}" for n in UNITS]),
        (("github", "--tz", "UTC"), [".github/workflows/restore-drill.yml"]),
        (("gitlab",), [".gitlab-ci.yml"]),
        (("kubernetes",), ["cronjobs.yaml"]),
    ]:
        files = json.loads(pgdrill(tmp_path, "schedule", *words, "--json").out)["files"]
        assert [file["path"] for file in files] == paths
        assert all("pgdrill" in file["text"] for file in files)
        assert {file["written"] for file in files} == {words[0] == "systemd"}
    assert sorted(path.name for path in units.iterdir()) == sorted(f"pgdrill-{name}" for name in UNITS)


def test_init_asks_in_a_terminal_and_asks_again_after_a_mistake(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    words = [sys.executable, "-c", "from backup_lib.cli import main; main()", "init"]
    with subprocess.Popen(words, cwd=tmp_path, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as program:
        os.close(theirs)
        os.write(ours, b"tienda\n\nsoon\n20m\n26h\n")  # the third is no duration
        assert program.wait(30) == 0
        said = os.read(ours, 65536).decode()
    os.close(ours)
    assert said.count("How long may a recovery take?") == 2
    assert "a duration is wanted" in said
    assert "pgdrill.toml written" in said
    written = (tmp_path / "pgdrill.toml").read_text()
    assert all(line in written for line in ('[databases."tienda"]', 'rto = "20m"', 'rpo = "26h"'))


@pytest.mark.parametrize("command", ["prune", "rotate"])
def test_a_configured_folder_that_no_backup_has_made_yet_is_no_failure(tmp_path: Path, command: str) -> None:
    """A schedule begins with whatever is due first; a mistyped folder is still a mistake."""
    toml = tmp_path / "pgdrill.toml"
    toml.write_text('[backup]\ndir = "kept"\n[databases.pos]\nurl = "postgresql://u@h/pos"\n')
    said = pgdrill(tmp_path, command)
    assert (said.status, "nothing there yet" in said.out) == (0, True)
    assert json.loads(pgdrill(tmp_path, command, "--backups", str(tmp_path / "kept"), "--json").out)["archives"] == []
    assert not (tmp_path / "kept").exists()
    mistyped = pgdrill(tmp_path, command, "--backups", "kpet")
    assert (mistyped.status, "kpet does not exist" in mistyped.err) == (3, True)
    (tmp_path / "kept").write_text("")
    assert pgdrill(tmp_path, command).status == 3
    toml.unlink()
    assert pgdrill(tmp_path, command, BACKUP_DIR="there").status == 3  # nothing says that a backup will ever go there
    assert pgdrill(tmp_path, command, BACKUP_DIR="there", DATABASE_URL="postgresql://u@h/pos").status == 0
