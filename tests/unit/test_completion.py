"""The scripts of `pgdrill completion`, run by the shells they are for, with no Python to be found."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from backup_lib.cli.app import COMMANDS, app
from backup_lib.cli.completion import read_commands, render_bash, render_fish

TREE = list(read_commands(typer.main.get_group(app)))
ARCHIVE = "pos_backup_20250101_000000.sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (ARCHIVE, f"{ARCHIVE}.manifest.json", f"{ARCHIVE}.verified.json"):
        (tmp_path / "backups").mkdir(exist_ok=True)
        (tmp_path / "backups" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "crm backup.dump").touch()
    (tmp_path / "my.toml").touch()
    return tmp_path


def ask_bash(folder: Path, words: list[str]) -> list[str]:
    script = f'{render_bash(TREE)}\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n_pgdrill\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    bash = shutil.which("bash")
    assert bash is not None
    run = subprocess.run(
        [bash, "--norc", "-c", script, "bash", *words],
        cwd=folder,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pgdrill ver", ["verify"]),
        ("pgdrill --config my.toml sched", ["schedule"]),
        ("pgdrill schedule o", ["once"]),
        ("pgdrill schedule once ", ["backup", "config", "rotate", "drill", "status", "--help"]),
        ("pgdrill verify --sandb", ["--sandbox"]),
        ("pgdrill verify --sandbox ", ["auto", "container", "embedded"]),
        ("pgdrill verify --sandbox = emb", ["embedded"]),  # as bash parts --sandbox=emb
        ("pgdrill verify po", [ARCHIVE]),
        ("pgdrill verify latest la", ["latest"]),
        ("pgdrill verify --manifest my", ["my.toml"]),
        ("pgdrill list --backups else", ["elsewhere"]),
        ("pgdrill prune verify", []),
    ],
)
def test_bash_offers_what_may_come_next(folder: Path, line: str, offered: list[str]) -> None:
    assert ask_bash(folder, line.split(" ")) == (offered or [""])


def test_archives_are_those_of_the_place_that_was_named(folder: Path) -> None:
    assert ask_bash(folder, ["pgdrill", "verify", "--backups", "elsewhere", "crm"]) == ["crm backup.dump"]


def test_nothing_in_a_name_is_run(folder: Path) -> None:
    (folder / "backups" / "pos$(touch ran)`touch ran`.sql").touch()
    assert len(ask_bash(folder, ["pgdrill", "verify", "pos"])) == 2
    assert not (folder / "ran").exists()


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pgdrill ver", ["verify"]),
        ("pgdrill --config my.toml sched", ["schedule"]),
        ("pgdrill schedule once ", ["backup", "config", "drill", "rotate", "status"]),
        ("pgdrill verify --sandbox ", ["auto", "container", "embedded"]),
        ("pgdrill verify pos", [ARCHIVE]),
    ],
)
def test_fish_offers_what_may_come_next(folder: Path, line: str, offered: list[str]) -> None:
    script = f"{render_fish(TREE)}\ncomplete -C '{line}'\n"
    run = subprocess.run(["fish", "--no-config", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert [found.split("\t")[0] for found in run.stdout.splitlines()] == offered


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_reads_the_script(folder: Path) -> None:
    script = f"{render_bash(TREE, zsh=True)}\nprint ${{_comps[pgdrill]}}\n"
    run = subprocess.run(["zsh", "-f", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert "_pgdrill" in run.stdout


def test_every_command_is_in_the_tree() -> None:
    assert [name for name, _ in TREE[0].commands] == list(COMMANDS)
    assert {command.path[0] for command in TREE if command.path} == set(COMMANDS)
