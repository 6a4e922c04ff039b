"""Archives of configuration files: every file as it was, secrets encrypted or not at all, and each read back."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePath

import pytest
from typer.testing import CliRunner

from backup_lib.catalog import resolve
from backup_lib.chunks import Digest
from backup_lib.cli.app import app
from backup_lib.encryption import Keys, Lock
from backup_lib.errors import ConcernsError, SourceError
from backup_lib.files_backup import collect, make_files_backup
from backup_lib.manifest import SUFFIX, FileFacts, parse_manifest, render_manifest
from backup_lib.rewrap import plan_rewrap, rewrap
from backup_lib.secret_finder import find_secrets
from verification.drill import Drill, Plan
from verification.evidence.builder import build_record
from verification.evidence.record import Record

AT = datetime(2025, 3, 1, 2, tzinfo=UTC)
COMPOSE = b"services:\n  db:\n    image: postgres:15\n    environment:\n      POSTGRES_PASSWORD_FILE: /run/secrets/db\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "conf/empty").mkdir(parents=True)
    (folder / "docker-compose.yml").write_bytes(COMPOSE)
    (folder / "conf/postgresql.conf").write_bytes(b"max_connections = 100\n")
    (folder / "conf/run.sh").write_bytes(b"#!/bin/sh\n")
    (folder / "conf/run.sh").chmod(0o750)
    (folder / "conf/current.conf").symlink_to("postgresql.conf")
    for path in (folder / "docker-compose.yml", folder / "conf/postgresql.conf"):
        path.chmod(0o640)
    return folder


def pack(project: Path, *paths: str, lock: Lock | None = None, keys: Keys | None = None) -> Path:
    made = make_files_backup(
        paths or ("docker-compose.yml", "conf"),
        project / "backups",
        name="shop-files",
        folder=project,
        lock=lock,
        keys=keys or Keys(),
        now=AT,
    )
    assert made.path
    return made.path


def drilled(archive: Path, keys: Keys | None = None) -> Record:
    (found,) = resolve([str(archive)], archive.parent)
    with Drill(found, archive, Plan(keys=keys or Keys()), drill_id="one") as drill:
        drill.judge_all()
    record = build_record(drill, finished_at=datetime.now(UTC))
    drill.close()
    return record


def faults(record: Record) -> dict[str, tuple[str, str]]:
    return {one.object: (one.expected, one.actual) for one in record.findings if one.status == "fault"}


def test_every_file_folder_and_link_comes_back_as_it_was(project: Path, tmp_path: Path) -> None:
    archive = pack(project)
    assert archive.name == "shop-files_backup_20250301_020000_config.tar.gz"
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xpf", archive, "-C", tmp_path / "out"], check=True)
    for name in ("docker-compose.yml", "conf/postgresql.conf", "conf/run.sh"):
        before, after = project / name, tmp_path / "out" / name
        assert (after.read_bytes(), after.stat().st_mode) == (before.read_bytes(), before.stat().st_mode)
        assert int(after.stat().st_mtime) == int(before.stat().st_mtime)
    assert (tmp_path / "out/conf/current.conf").readlink() == Path("postgresql.conf")
    assert (tmp_path / "out/conf/empty").is_dir()
    manifest = parse_manifest(archive.with_name(archive.name + SUFFIX).read_bytes())
    assert [one.path for one in manifest.files] == [
        "conf", "conf/current.conf", "conf/empty", "conf/postgresql.conf", "conf/run.sh", "docker-compose.yml",
    ]  # fmt: skip
    assert FileFacts(path="conf/current.conf", kind="link", mode="0777", target="postgresql.conf") in manifest.files


def test_the_same_files_give_the_same_bytes(project: Path) -> None:
    first, second = pack(project), pack(project, "conf", "docker-compose.yml")
    assert first != second
    assert first.read_bytes() == second.read_bytes()


def test_globs_go_down_hidden_files_are_found_and_the_archives_place_and_what_is_excluded_left_out(
    project: Path,
) -> None:
    (project / ".hidden.conf").write_bytes(b"x = 1\n")
    (project / "conf/old.log").write_bytes(b"")
    pack(project, "**/*.conf")
    taken = {one.header.name for one in collect(["."], project, exclude=["*.log"])}
    assert {".hidden.conf", "conf/run.sh", "backups"} <= taken
    assert "conf/old.log" not in taken
    archive = pack(project, "**")
    files = {one.path for one in parse_manifest(archive.with_name(archive.name + SUFFIX).read_bytes()).files}
    assert ".hidden.conf" in files
    assert not [path for path in files if path.startswith("backups")]
    assert [one.header.name for one in collect([str(project / "conf/run.sh")], project / "backups")] == [
        str(project / "conf/run.sh").lstrip("/")
    ]


def test_what_names_nothing_is_said(project: Path) -> None:
    with pytest.raises(SourceError, match=r"compose\.yaml names no file"):
        pack(project, "compose.yaml")
    os.mkfifo(project / "pipe")
    with pytest.raises(SourceError, match="no file is left"):
        pack(project, "pipe")


# Secrets


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (".env", b"A=1\n"),
        (".env.production", b"A=1\n"),
        ("tls/server.key", b""),
        ("secrets/db", b"x"),
        ("docker-compose.yml", b"      POSTGRES_PASSWORD: hunter2\n"),
        ("docker-compose.yml", b"      - POSTGRES_PASSWORD=hunter2\n"),
        ("app.json", b'  "apiKey": "0123456789"\n'),
        ("app.ini", b"db_password = hunter2 # old\n"),
        ("run.sh", b"export API_TOKEN='abc'\n"),
        ("app.yml", b"url: postgresql://pos:hunter2@db/shop\n"),
        ("notes.txt", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
        ("notes.txt", b"AGE-SECRET-KEY-1QQQ\n"),
        ("aws.cfg", b"id AKIAIOSFODNN7EXAMPLE\n"),
    ],
)
def test_what_looks_like_a_secret_is_found(name: str, data: bytes) -> None:
    assert list(find_secrets(PurePath(name), data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (".env.example", b"PASSWORD=hunter2\n"),
        ("docker-compose.yml", COMPOSE),
        ("docker-compose.yml", b"      POSTGRES_PASSWORD: ${DB_PASSWORD:?set it}\n      - TOKEN=$TOKEN\n"),
        ("docker-compose.yml", b"secrets:\n  db_password:\n    file: ./db\n"),
        ("postgresql.conf", b"password_encryption = scram-sha-256\n#ssl_key_file = 'server.key'\n"),
        ("pg_hba.conf", b"host all all 127.0.0.1/32 password\n"),
        ("app.yml", b"url: postgresql://pos@db/shop\npassword:\ntokens: 3\nurl: postgresql://u:$P@db\n"),
        ("id.pub", b"ssh-ed25519 AAAA ana\n"),
    ],
)
def test_what_only_speaks_of_secrets_is_none(name: str, data: bytes) -> None:
    assert not list(find_secrets(PurePath(name), data))


def test_secrets_go_into_an_encrypted_archive_or_into_none(project: Path, pair: tuple[Lock, Keys]) -> None:
    (project / ".env").write_bytes(b"POSTGRES_PASSWORD=hunter2\n")
    (project / "conf/app.ini").write_bytes(b"a = 1\npassword = hunter2\n")
    with pytest.raises(ConcernsError) as caught:
        pack(project, ".env", "conf")
    assert ".env: its name is that of a file of secrets" in str(caught.value)
    assert "conf/app.ini: line 2: a password or token" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not list(project.glob("backups/*"))
    lock, keys = pair
    archive = pack(project, ".env", "conf", lock=lock, keys=keys)
    assert archive.name.endswith("_config.tar.gz.age")
    assert b"hunter2" not in archive.read_bytes() + archive.with_name(archive.name + SUFFIX).read_bytes()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lock, Keys]:
    pyrage = pytest.importorskip("pyrage")
    path = tmp_path_factory.mktemp("keys") / "key.txt"
    key = pyrage.x25519.Identity.generate()
    path.write_text(f"{key}\n")
    return Lock(recipients=(str(key.to_public()),)), Keys(identity_files=(path,))


# Drilled


def test_a_drill_reads_every_file_back_and_needs_no_server(project: Path) -> None:
    record = drilled(pack(project))
    assert (record.verdict, record.archive.kind, record.archive.database) == ("verified", "config", "shop-files")
    assert {check.name: check.status for check in record.checks} == {"integrity": "passed", "completeness": "passed"}
    assert "6 files, folders and links read back" in record.summary
    assert record.sandbox is None
    assert any("a service starts with these files" in said for said in record.not_proved)


def test_without_its_manifest_it_is_not_verified_and_not_called_damaged(project: Path) -> None:
    """Its backup was killed between the two."""
    archive = pack(project)
    (project / "backups" / f"{archive.name}{SUFFIX}").unlink()
    record = drilled(archive)
    assert record.verdict == "could_not_verify"
    assert {check.name: check.status for check in record.checks} == {
        "integrity": "passed",
        "completeness": "could_not_verify",
    }
    assert "a manifest that lists the files" in record.summary


Change = Callable[[tarfile.TarInfo, bytes], "tuple[tarfile.TarInfo, bytes] | None"]


def _altered(header: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes] | None:
    return header, data.replace(b"100", b"900")


def _lost(header: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes] | None:
    return None if header.name == "conf/postgresql.conf" else (header, data)


def _opened(header: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes] | None:
    header.mode |= 0o004 if header.name == "conf/postgresql.conf" else 0
    return header, data


@pytest.mark.parametrize(
    ("change", "actual"),
    [(_altered, "SHA-256"), (_lost, "none"), (_opened, "mode 0644")],
    ids=["altered", "lost", "mode"],
)
def test_a_file_that_is_not_what_it_was_is_named(project: Path, change: Change, actual: str) -> None:
    archive = pack(project)
    packed = io.BytesIO()
    with tarfile.open(archive) as before, tarfile.open(fileobj=packed, mode="w") as after:
        for header in before:
            member = before.extractfile(header) if header.isreg() else None
            if kept := change(header, member.read() if member else b""):
                kept[0].size = len(kept[1])
                after.addfile(kept[0], io.BytesIO(kept[1]))
    archive.write_bytes(gzip.compress(packed.getvalue()))
    beside = archive.with_name(archive.name + SUFFIX)
    manifest, digest = parse_manifest(beside.read_bytes()), Digest()
    digest.update(archive.read_bytes())
    assert manifest.archive
    facts = replace(manifest.archive, size_bytes=digest.size_bytes, sha256=digest.sha256)
    beside.write_bytes(render_manifest(replace(manifest, archive=facts)))  # whole, and still not what was packed
    record = drilled(archive)
    found = faults(record)
    assert record.verdict == "failed"
    assert list(found) == ["conf/postgresql.conf"]
    assert actual in found["conf/postgresql.conf"][1]


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_cut_or_flipped_archive_of_files_fails(project: Path, cut: int) -> None:
    archive = pack(project)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-cut])
    assert drilled(archive).verdict == "failed"
    archive.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    assert drilled(archive).verdict == "failed"


def test_an_encrypted_one_is_drilled_with_its_key_and_gets_another(project: Path, pair: tuple[Lock, Keys]) -> None:
    lock, keys = pair
    archive = pack(project)
    (found,) = resolve([str(archive)], archive.parent)
    rewrap(plan_rewrap(found, lock, Keys(), keys), lock, Keys(), keys)
    archive = archive.with_name(archive.name + ".age")
    assert drilled(archive, keys).verdict == "verified"
    assert drilled(archive).verdict == "could_not_verify"


def test_the_latest_archive_is_one_of_a_database_as_long_as_there_is_any(project: Path) -> None:
    archive = pack(project)
    assert resolve(["latest"], archive.parent)[0].name == archive.name
    older = archive.with_name("pos_backup_20250101_020000.sql")
    older.write_bytes(b"--\n-- PostgreSQL database dump\n--\n\n")
    assert resolve(["latest"], archive.parent)[0].name == older.name
    assert resolve(["latest:shop-files"], archive.parent)[0].name == archive.name
    assert len(resolve(["all"], archive.parent)) == 2


def test_the_command_packs_what_is_named_or_configured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("BACKUP_DIR", "kept")
    words = ["backup", "--kind", "config", "--path", "conf", "--json"]
    planned = json.loads(CliRunner().invoke(app, [*words, "--dry-run"]).stdout)
    assert planned["files"][0]["path"] == "conf"
    assert not (project / "kept").exists()
    made = json.loads(CliRunner().invoke(app, [*words, "--name", "shop-files"]).stdout)
    assert (made["kind"], made["database"], made["files"]) == ("config", "shop-files", 5)
    (project / ".env").write_bytes(b"A=1\n")
    refused = CliRunner().invoke(app, ["backup", "--kind", "config", "--path", ".env"])
    assert isinstance(refused.exception, ConcernsError)
    none = CliRunner().invoke(app, ["backup", "--kind", "config"])
    assert "no file is named" in str(none.exception)
    restored = CliRunner().invoke(app, ["restore", "latest", "--dsn", "postgresql:///x"])
    assert "which go into no server" in str(restored.exception)
    shown = CliRunner().invoke(app, ["show", "latest"])
    assert "conf/postgresql.conf" in shown.stdout
