"""Killed before any of its changes to the disk: the next run ends where an undisturbed one does, and nothing stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from itertools import count
from pathlib import Path

import pytest
from test_replicas import drill, put
from test_rotation import NEWEST, SEPTEMBER, content
from typer.testing import CliRunner

from backup_lib.catalog import list_archives
from backup_lib.cli.app import app
from backup_lib.ledger import digest_stored
from backup_lib.manifest import parse_manifest
from backup_lib.store import LocalStore

_KILLED = """
import os, sys
left, fsync = int(sys.argv[1]), os.fsync
def killing(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    fsync(descriptor)
os.fsync = killing
sys.argv[1:] = sys.argv[2:]
from backup_lib.cli import main
main()
"""


def run(folder: Path, *words: str) -> int:
    with chdir(folder):
        return CliRunner().invoke(app, words).exit_code


def run_until(until: int, folder: Path, *words: str) -> int:
    """Killed before it makes that many files, or names in folders, last."""
    return subprocess.run([sys.executable, "-c", _KILLED, str(until), *words], cwd=folder, check=False).returncode


def put_months(folder: Path) -> None:
    store = LocalStore(folder / "here")
    for name in (*SEPTEMBER[:2], NEWEST):
        put(store, name, content(name))
        drill(store, name)


def put_two_places(folder: Path) -> None:
    here, there = LocalStore(folder / "here"), LocalStore(folder / "there")
    put(here, NEWEST, content(NEWEST)), put(here, SEPTEMBER[1], content(SEPTEMBER[1]))
    drill(here, NEWEST)
    put(there, SEPTEMBER[0], content(SEPTEMBER[0])), put(there, SEPTEMBER[1], content(SEPTEMBER[1]))
    there.path(SEPTEMBER[1]).write_bytes(b"rotten")


def all_files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("lock")
    )


def require_sound(place: Path) -> list[str]:
    """Each archive in it is what its manifest promises."""
    sound = []
    for found in list_archives(place):
        promised = parse_manifest(b"".join(found.store.open_read(found.manifest_name))).archive
        assert promised
        assert digest_stored(found.store, found.name)[1] == promised.sha256
        sound.append(found.name)
    return sorted(sound)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        pytest.param(put_months, ("rotate", "--backups", "here", "--older-than", "40"), id="rotate"),
        pytest.param(put_two_places, ("sync", "here", "there"), id="sync"),
    ],
)
def test_killed_at_any_moment_the_next_run_ends_as_one_does_that_was_not(
    tmp_path: Path, fill: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    (tmp_path / "whole").mkdir()
    fill(tmp_path / "whole")
    assert run(tmp_path / "whole", *words) == 0
    expected = all_files(tmp_path / "whole")
    for until in count():
        folder = tmp_path / str(until)
        folder.mkdir()
        fill(folder)
        before = all_files(folder)
        if run_until(until, folder, *words) == 0:
            break
        assert run(folder, *words) == 0, until
        assert all_files(folder) == expected, until
        kept = {name for place in folder.iterdir() for name in require_sound(place)}
        assert kept == {name for path in before if (name := Path(path).name).endswith(".sql")}, until
    assert until > 5
    assert not any(path.endswith("partial") for path in expected)


def test_what_a_dead_rotation_left_goes_though_nothing_is_to_be_packed(tmp_path: Path) -> None:
    """The second name of a bundle would keep its room on the disk when the bundle is deleted."""
    put_months(tmp_path)
    words = ("rotate", "--backups", "here", "--older-than", "40")
    assert run(tmp_path, *words) == 0
    aside = tmp_path / "here" / "archive"
    (aside / ".pos_archive_202509.tar.partial").hardlink_to(aside / "pos_archive_202509.tar")
    assert run(tmp_path, *words) == 0
    assert [path.name for path in aside.iterdir() if path.name.endswith("partial")] == []
    assert require_sound(tmp_path / "here") == sorted([*SEPTEMBER[:2], NEWEST])
