"""Folders of running servers, those left behind, and those kept between runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from backup_lib.errors import ServerError
from backup_lib.process import owner_id
from backup_lib.run_folder import PREFIX, kept_folder, private_run_folder, reap, remove, run_folder

DEAD = owner_id().rpartition(".")[0] + ".1"  # this pid, but of a process that started at boot


def left(parent: Path, *, owner: str, expires_in_s: float = 3600) -> Path:
    folder = parent / f"{PREFIX}left"
    folder.mkdir()
    (folder / "owner").write_text(f"{owner} {time.time() + expires_in_s:.0f}\n")
    (folder / "data").mkdir()
    (folder / "data/file").write_text("x")
    return folder


def test_a_run_folder_is_gone_after_use(tmp_path: Path) -> None:
    with run_folder(tmp_path, lease_s=60) as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o711, "others pass, but do not list"
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_dead_owner_is_removed_by_the_next(tmp_path: Path) -> None:
    folder = left(tmp_path, owner=DEAD)
    with run_folder(tmp_path, lease_s=60):
        assert not folder.exists()


def test_what_a_killed_run_would_have_handed_on_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a schedule, one for each time it was killed while a command ran."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed = "import os\nfrom backup_lib.run_folder import private_run_folder as f\nwith f(): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed], check=False)
    (left,) = tmp_path.iterdir()
    with private_run_folder() as folder:
        assert not left.exists()
        assert folder.stat().st_mode & 0o777 == 0o700, "what is told of a run is for this account"
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_living_owner_stays_whatever_the_clock_says(tmp_path: Path) -> None:
    left(tmp_path, owner=owner_id(), expires_in_s=-9 * 365 * 86400)
    assert reap([tmp_path]) == []


def test_the_folder_of_an_owner_out_of_sight_stays_until_its_lease_is_over(tmp_path: Path) -> None:
    elsewhere = f"another.machine.{os.getpid()}.1"
    folder = left(tmp_path, owner=elsewhere)
    assert reap([tmp_path]) == []
    (folder / "owner").write_text(f"{elsewhere} 1\n")
    assert reap([tmp_path]) == [folder]
    assert not folder.exists()


def test_a_folder_in_the_making_stays_while_its_maker_lives(tmp_path: Path) -> None:
    ours, dead = (tmp_path / f"{PREFIX}new-{owner}-abc" for owner in (owner_id(), DEAD))
    ours.mkdir()
    dead.mkdir()
    assert reap([tmp_path]) == [dead]
    assert ours.is_dir()


def test_a_folder_whose_removal_was_interrupted_is_removed(tmp_path: Path) -> None:
    folder = left(tmp_path, owner=owner_id())
    (folder / "owner").unlink()
    assert reap([tmp_path]) == [folder]


def test_a_link_named_like_a_run_folder_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "owner").write_text(f"{DEAD} 1\n")
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    assert reap([tmp_path]) == []
    assert precious.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_accounts_folder_is_left_alone(tmp_path: Path) -> None:
    folder = left(tmp_path, owner=DEAD)
    os.chown(folder, 65534, 65534)
    assert reap([tmp_path]) == []


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    remove(tmp_path / "never-made")


def test_a_kept_folder_is_made_once_and_private(tmp_path: Path) -> None:
    folder = kept_folder(tmp_path / "a/b")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept_folder(folder) == folder


def test_a_kept_folder_others_may_write_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b").chmod(0o777)
    with pytest.raises(ServerError, match="only this account can change"):
        kept_folder(tmp_path / "b")


def test_a_kept_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ServerError, match="only this account can change"):
        kept_folder(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_kept_folder_of_another_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o700)
    os.chown(tmp_path / "b", 65534, 65534)
    with pytest.raises(ServerError, match="only this account can change"):
        kept_folder(tmp_path / "b")


def test_a_kept_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match=r"cannot be made(.|\n)*XDG_CACHE_HOME"):
        kept_folder(tmp_path / "file/b")
