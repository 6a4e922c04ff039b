"""A folder of archives: whole or not at all, private, never overwritten."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backup_lib.errors import LockedError, StoreError
from backup_lib.manifest import SUFFIX
from backup_lib.store import LocalStore, Store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "deep" / "backups")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(store: Store, name: str, data: bytes) -> None:
    with store.create(name) as sink:
        sink.write(data)


def test_what_is_created_is_private_and_can_be_read(store: LocalStore) -> None:
    old = os.umask(0)
    try:
        write(store, "a.sql", b"text")
    finally:
        os.umask(old)
    assert b"".join(store.open_read("a.sql")) == b"text"
    assert mode(store.path("a.sql")) == 0o600
    assert [(item.name, item.size_bytes) for item in store.items()] == [("a.sql", 4)]


def test_a_folder_it_makes_is_private(store: LocalStore) -> None:
    with store.lock("d_backup_"):
        assert mode(store.folder) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write(LocalStore(tmp_path), "a.sql", b"")
    assert mode(tmp_path) == 0o755


def test_nothing_has_the_name_before_it_is_whole(store: LocalStore) -> None:
    with store.create("a.sql") as sink:
        sink.write(b"half")
        assert not store.exists("a.sql")
        assert store.items() == []
    assert store.exists("a.sql")


def test_a_failure_leaves_nothing(store: LocalStore) -> None:
    with pytest.raises(KeyboardInterrupt), store.create("a.sql"):
        raise KeyboardInterrupt
    assert list(store.folder.iterdir()) == []


def test_a_name_is_never_overwritten(store: LocalStore) -> None:
    write(store, "a.sql", b"old")
    with pytest.raises(StoreError, match="exists already"):
        write(store, "a.sql", b"new")
    assert b"".join(store.open_read("a.sql")) == b"old"
    assert len(list(store.folder.iterdir())) == 1


def test_without_hard_links_a_name_is_not_overwritten_either(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write(store, "a.sql", b"old")
    with pytest.raises(StoreError, match="exists already"):
        write(store, "a.sql", b"new")
    assert b"".join(store.open_read("a.sql")) == b"old"


def test_a_folder_that_a_program_made_becomes_private_and_gets_its_name(store: LocalStore) -> None:
    with store.create_path("a.dir") as path:
        path.mkdir()
        (path / "toc.dat").write_bytes(b"12345")
        assert store.items() == []
    (item,) = store.items()
    assert (item.name, item.size_bytes, item.is_folder) == ("a.dir", 5, True)
    assert (mode(store.path("a.dir")), mode(store.path("a.dir") / "toc.dat")) == (0o700, 0o600)
    store.delete("a.dir")
    assert store.items() == []


def test_a_folder_is_never_overwritten_nor_left_half_made(store: LocalStore) -> None:
    store.path("a.dir").mkdir(parents=True)
    with pytest.raises(StoreError, match="exists already"), store.create_path("a.dir") as path:
        path.mkdir()
    assert [path.name for path in store.folder.iterdir()] == ["a.dir"]


def test_two_runs_for_one_database_do_not_collide(store: LocalStore) -> None:
    with store.lock("d_backup_"):
        with pytest.raises(LockedError, match="another run"), store.lock("d_backup_"):
            pass
        with store.lock("other_backup_"):
            pass
    with store.lock("d_backup_"):
        pass


def test_what_a_dead_run_left_is_cleared_by_the_next_one_of_the_same_database(store: LocalStore) -> None:
    code = (
        "import os, sys; from pathlib import Path; from backup_lib.store import LocalStore\n"
        "store = LocalStore(Path(sys.argv[1]))\n"
        "with store.lock('d_backup_'), store.create('d_backup_1.sql') as sink:\n"
        "    with store.create_path('d_backup_2.dir') as path:\n"
        "        path.mkdir(); (path / 'toc.dat').touch(); sink.write(b'half'); os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, store.folder], check=False).returncode == -9
    (store.folder / ".other_backup_1.sql.partial").touch()
    assert len(list(store.folder.glob(".*.partial"))) == 3
    assert store.items() == []
    with store.lock("d_backup_"):
        assert [path.name for path in store.folder.glob(".*.partial")] == [".other_backup_1.sql.partial"]


def test_a_full_disk_is_named_with_what_to_do(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="No space left") as caught, store.create("a.sql"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in caught.value.hint


def test_a_folder_that_does_not_exist_is_not_an_empty_one(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        store.items()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(StoreError, match="is a file"):
        LocalStore(tmp_path / "x").items()
    with pytest.raises(StoreError, match="is a file"):
        write(LocalStore(tmp_path / "x"), "a.sql", b"")
    with pytest.raises(StoreError, match="is a file"), LocalStore(tmp_path / "x").lock("d_backup_"):
        pass


def test_reading_what_is_not_there_is_a_store_error(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="No such file"):
        list(store.open_read("a.sql"))


def test_what_a_dead_writer_left_keeps_nobody_from_writing(store: LocalStore) -> None:
    store.folder.mkdir(parents=True)
    for name in (".a.json.partial", ".a.sql.partial"):
        (store.folder / name).write_bytes(b"half")
    store.replace("a.json", b"{}")
    write(store, "a.sql", b"text")
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == {"a.json": b"{}", "a.sql": b"text"}


def test_the_manifest_of_an_archive_that_a_dead_writer_did_not_end_goes_with_what_it_left(store: LocalStore) -> None:
    for name in ("d_backup_1.sql", "d_backup_2.sql", "d_backup_3.sql"):
        write(store, name + SUFFIX, b"{}")
    (store.folder / ".d_backup_1.sql.partial").touch()
    write(store, "d_backup_2.sql", b"text")
    (store.folder / ".d_backup_2.sql.partial").hardlink_to(store.path("d_backup_2.sql"))
    with store.lock("d_backup_"):
        kept = ["d_backup_2.sql", "d_backup_2.sql" + SUFFIX, "d_backup_3.sql" + SUFFIX]  # the last: somebody moved it
        assert [item.name for item in store.items()] == kept


def test_the_second_name_that_a_dead_writer_left_is_not_written_into(store: LocalStore) -> None:
    write(store, "a.sql", b"text")
    (store.folder / ".a.sql.partial").hardlink_to(store.path("a.sql"))
    with pytest.raises(StoreError, match="exists already"):
        write(store, "a.sql", b"other")
    assert [(path.name, path.read_bytes()) for path in store.folder.iterdir()] == [("a.sql", b"text")]


def test_of_two_writers_of_one_name_the_second_is_told(store: LocalStore) -> None:
    with store.create("a.sql") as sink:
        sink.write(b"first")
        with pytest.raises(LockedError, match=r"another run writes .*/a\.sql"):
            write(store, "a.sql", b"second")
    assert b"".join(store.open_read("a.sql")) == b"first"


def test_what_is_being_written_without_the_lock_is_not_cleared_by_who_gets_it(store: LocalStore) -> None:
    """A drill notes how it ended while a backup of the same database begins."""
    with store.create("d_backup_1.sql.verified.json") as sink:
        sink.write(b"{}")
        with store.lock("d_backup_"):
            pass
    assert store.exists("d_backup_1.sql.verified.json")


def test_what_belongs_to_the_lock_of_a_longer_name_is_not_cleared(store: LocalStore) -> None:
    """Of the databases `d` and `d_backup_old`, while the second one is backed up by pg_dump itself."""
    with store.lock("d_backup_old_backup_"), store.create_path("d_backup_old_backup_1.dir") as path:
        path.mkdir()
        with store.lock("d_backup_"):
            assert path.exists()
    assert store.exists("d_backup_old_backup_1.dir")


def test_interrupted_when_it_has_its_name_it_is_gone_again(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an archive stays whose manifest was never written."""

    def interrupted(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(store, "a.sql", b"text")
    assert list(store.folder.iterdir()) == []
