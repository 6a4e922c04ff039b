"""The doctor tells the usual causes of a failed backup apart: password, database, privileges, version, folder, room."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from drilling import execute
from psycopg import sql
from psycopg.conninfo import make_conninfo

from backup_lib.backup import make_backup
from backup_lib.checkup import Examined, examine_database, examine_place, examine_room, examine_version
from backup_lib.errors import StoreError
from backup_lib.places import open_place
from backup_lib.server_programs import NEWEST_MAJOR
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

RIGHT = "r1ght-hush"  # a password


@pytest.fixture
def logins(server: Server, fresh_database: Callable[..., str]) -> Iterator[str]:
    """A database with one table; the role `cashier` needs a password, and may read nothing of it."""
    dsn = fresh_database(server)
    execute(dsn, f"CREATE ROLE cashier LOGIN PASSWORD '{RIGHT}'", "CREATE TABLE sale (id int)")
    hba = server.data_dir / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"local all cashier scram-sha-256\n{before}")
    execute(dsn, "SELECT pg_reload_conf()")
    yield dsn
    hba.write_text(before)
    execute(dsn, "SELECT pg_reload_conf()", "DROP OWNED BY cashier", "DROP ROLE cashier")


def by_name(found: Iterator[Examined]) -> dict[str, Examined]:
    return {item.what: item for item in found}


def test_each_reason_why_a_database_cannot_be_backed_up_is_told_apart(logins: str) -> None:
    def cause(**change: str) -> tuple[str, str]:
        found = list(examine_database(make_conninfo(logins, **change)))
        assert RIGHT not in str(found)
        assert "wr0ng-hush" not in str(found)
        (bad,) = (item for item in found if item.blocks)
        assert bad.status == "missing"
        return bad.cause, bad.hint

    cashier = {"user": "cashier", "password": RIGHT}
    assert cause(user="cashier", password="wr0ng-hush")[0] == "wrong-password"  # noqa: S106
    assert "PGPASSWORD" in cause(user="cashier")[1]
    assert cause(**cashier, dbname="nowhere")[0] == "no-database"
    assert "--list" in cause(**cashier, dbname="nowhere")[1]
    assert cause(user="nobody_here")[0] == "no-role"
    assert cause(host="127.0.0.1", port="1") == (
        "unreachable", "start the server, or mend host and port; see: pg_isready --host 127.0.0.1 --port 1",
    )  # fmt: skip
    assert cause(host="nowhere.invalid")[0] == "unknown-host"
    assert cause(**cashier) == ("no-privilege", 'run as a superuser: GRANT pg_read_all_data TO "cashier"')
    with psycopg.connect(logins) as connection:
        name = sql.Identifier(connection.info.dbname)
    with psycopg.connect(logins, autocommit=True) as connection:
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
    assert cause(**cashier)[0] == "may-not-connect"
    execute(
        logins,
        sql.SQL("GRANT CONNECT ON DATABASE {} TO cashier").format(name).as_string(),
        "GRANT pg_read_all_data TO cashier",
    )
    good = by_name(examine_database(make_conninfo(logins, **cashier)))
    assert [item.status for item in good.values()] == ["ok", "ok", "ok"]
    assert good["database: privileges"].detail == "cashier may read the 1 table"
    assert f"server {NEWEST_MAJOR}." in good["database: version"].detail


def test_a_server_newer_than_every_pg_dump_names_what_brings_one() -> None:
    found = examine_version("version", NEWEST_MAJOR + 1, "19.1")
    assert (found.status, found.cause, found.blocks) == ("missing", "client-too-old", True)
    assert f"install-server {NEWEST_MAJOR + 1}" in found.hint


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; others not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_folder_is_really_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    for parent in (folder, *folder.parents):  # pytest's own are closed to others
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(0o711)
    folder.chmod(0o555)
    with as_nobody():
        refused = by_name(examine_place(open_place(folder)))[f"backup folder {folder}"]
        beside = by_name(examine_place(open_place(folder / "new")))[f"backup folder {folder / 'new'}"]
    for item in (refused, beside):
        assert (item.status, item.cause, item.blocks) == ("missing", "not-writable", True)
        assert f"chown {65534 if os.geteuid() == 0 else os.geteuid()}" in item.hint
        assert str(folder) in item.hint
    folder.chmod(0o700)
    good = by_name(examine_place(open_place(folder)))[f"backup folder {folder}"]
    assert (good.status, good.detail) == ("ok", "can be written, and is private")
    assert not list(folder.iterdir())
    absent = by_name(examine_place(open_place(tmp_path / "not" / "yet")))
    assert absent[f"backup folder {tmp_path}/not/yet"].status == "ok"
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("name", [".pos_backup_lock", "pos_backup_20250101_020000.sql.gz"])
def test_what_root_has_left_in_the_folder_is_named_as_backups_name_it(tmp_path: Path, name: str) -> None:
    """The folder can be written, and yet the next run of this account stops at a file of another one."""
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    (folder / name).touch(mode=0o600)
    for parent in folder.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(0o711)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        (folder / name).chmod(0)
    with as_nobody():
        item = by_name(examine_place(open_place(folder)))[f"backup folder {folder}"]
        with pytest.raises(StoreError) as raised, open_place(folder).lock("pos_backup_"):
            next(open_place(folder).open_read(name))
    assert (item.status, item.cause, item.blocks) == ("missing", "not-readable", True)
    assert name in item.detail
    assert f"{folder / name}: Permission denied" in str(raised.value)
    if os.geteuid() == 0:
        assert item.hint == f"chown -R 65534:{os.getegid()} {folder}"
        assert raised.value.hint.endswith(item.hint)


def test_room_is_held_against_the_next_backups(logins: str, tmp_path: Path) -> None:
    make_backup(logins, tmp_path)
    made = make_backup(logins, tmp_path, kind="schema")
    assert made.path is not None
    found = by_name(examine_place(open_place(tmp_path)))["room for backups"]
    size_kib = sum(path.stat().st_size for path in tmp_path.glob("*.sql.gz")) / 1024
    assert found.detail.endswith(f"; the next backups take about {size_kib:.1f} KiB")
    free = shutil.disk_usage(tmp_path).free
    assert examine_room("room", tmp_path, "BACKUP_DIR", wanted_bytes=free * 2).blocks
    assert examine_room("room", tmp_path, "BACKUP_DIR", wanted_bytes=int(free * 0.9)).status == "warning"


def test_the_command_fails_for_a_database_that_cannot_be_backed_up_and_not_for_none(
    logins: str, tmp_path: Path
) -> None:
    def doctor(*words: str, **env: str) -> tuple[int, Any]:
        silent = ("PG", "BACKUP_", "POSTGRES_", "DATABASE_URL")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
        kept |= {name: os.environ[name] for name in ("PGDRILL_SERVERS",) if name in os.environ}
        argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", "doctor", "--json", *words]
        said = subprocess.run(argv, cwd=tmp_path, env={**kept, **env}, capture_output=True, text=True, check=False)
        assert RIGHT not in said.stdout + said.stderr
        return said.returncode, json.loads(said.stdout)

    status, told = doctor()
    assert (status, told["blocked"]) == (0, [])
    (tmp_path / "pgdrill.toml").write_text('[databases.shop]\nurl_env = "A"\n[databases.audit]\nurl_env = "NONE"\n')
    shop = make_conninfo(logins, user="cashier", password=RIGHT)
    status, told = doctor(A=shop)
    causes = {item["what"]: item["cause"] for item in told["examined"] if item["blocks"]}
    assert (status, told["able"]) == (3, True)
    assert causes == {"database shop: privileges": "no-privilege", "database audit": "configuration"}
    assert sorted(causes) == sorted(told["blocked"])
