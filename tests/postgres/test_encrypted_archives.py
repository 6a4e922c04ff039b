"""Encrypted archives against real servers: nothing in plain on the way, read by every command, keys told from damage."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from drilling import DrillOf, PgDump, execute, told

from backup_lib.backup import make_backup
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import Stored, open_dump_text
from backup_lib.encryption import Keys, Lock
from backup_lib.errors import ProgramError, UsageError, WrongKeyError
from backup_lib.manifest import SUFFIX
from backup_lib.servers import Server
from backup_lib.store import LocalStore

pyrage = pytest.importorskip("pyrage")
pytestmark = pytest.mark.postgres

PHRASE = "contraseña de prueba"
_PEOPLE = """
    CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, note text);
    INSERT INTO people SELECT n, 'Margarita ' || n, md5(n::text) FROM generate_series(1, 20000) n;
    CREATE TABLE pairs AS SELECT id, note FROM people;
    CREATE VIEW names AS SELECT name FROM people"""
Pgdrill = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def dsn(server: Server) -> Iterator[str]:
    """One database for all tests here, which only read it."""
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE sealed")
        execute(server.conninfo("sealed"), _PEOPLE)
        yield server.conninfo("sealed")
        connection.execute("DROP DATABASE sealed WITH (FORCE)")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, str]:
    """A secret key's file, and its public key."""
    key = pyrage.x25519.Identity.generate()
    path = tmp_path_factory.mktemp("identity") / "key.txt"
    path.write_text(f"{key}\n")
    return Keys(identity_files=(path,)), str(key.to_public())


@pytest.fixture
def pgdrill(tmp_path: Path) -> Pgdrill:
    """`pgdrill("list", dsn=…, BACKUP_ENCRYPT="true")`, as a program in a folder of its own."""

    def pgdrill(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "BACKUP_"))}
        kept |= {name: os.environ[name] for name in ("PGDRILL_SERVERS",) if name in os.environ}
        argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", *map(str, words)]
        said = subprocess.run(
            argv, cwd=tmp_path, env={**kept, **variables}, capture_output=True, text=True, timeout=300
        )
        for secret in ("Margarita", PHRASE, "AGE-SECRET-KEY"):
            assert secret not in said.stdout + said.stderr
        return said

    return pgdrill


def test_an_archive_encrypted_by_the_guides_variables_is_verified_and_its_key_told_from_its_damage(
    dsn: str, pgdrill: Pgdrill, tmp_path: Path, age: Callable[..., bytes], drill_of: DrillOf
) -> None:
    said = pgdrill("backup", "--json", DATABASE_URL=dsn, BACKUP_ENCRYPT="true", BACKUP_ENCRYPT_PASSWORD=PHRASE)
    assert said.returncode == 0, said.stderr
    made: dict[str, Any] = json.loads(said.stdout)
    path = tmp_path / made["path"]
    assert path.name.endswith(".sql.gz.age")
    assert (made["encryption"]["key"], made["encryption"]["key_proved"]) == ("passphrase", True)
    manifest = path.with_name(path.name + SUFFIX).read_text()
    assert PHRASE not in manifest
    assert b"Margarita 17\t" in gzip.decompress(age("--decrypt", given=path.read_bytes(), passphrase=PHRASE))

    refused = pgdrill("verify", "--json")
    assert (refused.returncode, refused.stdout) == (12, "")
    assert "none was given\nhint: set BACKUP_ENCRYPT_PASSWORD" in refused.stderr
    wrong = pgdrill("verify", BACKUP_ENCRYPT_PASSWORD="another")  # noqa: S106 - a wrong one
    assert wrong.returncode == 12
    assert "the passphrase does not open" in wrong.stderr

    (tmp_path / "password").write_text(PHRASE + "\n")
    verified = pgdrill(
        "verify", "--json", "--level", "integrity", BACKUP_ENCRYPT_PASSWORD_FILE=str(tmp_path / "password")
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (drilled,) = json.loads(verified.stdout)["drills"]
    record = (tmp_path / drilled["folder"] / "record.json").read_text()
    assert json.loads(record)["archive"]["encryption"] == "age, passphrase"
    for written in (tmp_path / drilled["folder"]).iterdir():
        assert PHRASE.encode() not in written.read_bytes()

    data = path.read_bytes()
    salt = data.index(b"-> scrypt ") + 10
    path.write_bytes(data[:salt] + (b"B" if data[salt:].startswith(b"A") else b"A") + data[salt + 1 :])
    record = drill_of(path, keys=Keys(passphrase=PHRASE), level="integrity")
    assert record.verdict == "failed"
    assert "no key opens it, and its bytes are not those written" in told(record)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_machine_with_the_public_key_alone_writes_what_it_cannot_read(
    dsn: str, pgdrill: Pgdrill, tmp_path: Path, identity: tuple[Keys, str], drill_of: DrillOf
) -> None:
    keys, recipient = identity
    said = pgdrill("backup", "--json", "--recipient", recipient, "--compress", "zstd", DATABASE_URL=dsn)
    assert said.returncode == 0, said.stderr
    made = json.loads(said.stdout)
    path = tmp_path / made["path"]
    assert made["name"].endswith(".sql.zst.age")
    assert (made["encryption"]["recipients"], made["encryption"]["key_proved"]) == ([recipient], False)
    assert "not proved that anybody can open the archive" in said.stderr
    with pytest.raises(WrongKeyError, match="no identity was given"), open_dump_text(path):
        pass
    record = drill_of(path, keys=keys)
    assert record.verdict == "verified", told(record)
    assert record.archive.encryption == "age, recipients"
    restored = pgdrill(
        "restore", path, "--create-database", "unsealed", "--identity", keys.identity_files[0], DATABASE_URL=dsn
    )
    assert restored.returncode == 0, restored.stderr
    with psycopg.connect(dsn, autocommit=True) as connection:
        with psycopg.connect(dsn, dbname="unsealed") as there:
            assert there.execute("SELECT count(*) FROM people").fetchone() == (20_000,)
        connection.execute("DROP DATABASE unsealed")
    locked = pgdrill("restore", path, "--create-database", "unsealed", DATABASE_URL=dsn)
    assert locked.returncode == 12, locked.stderr
    unopened = drill_of(path)
    assert unopened.verdict == "could_not_verify", told(unopened)
    assert "no identity was given" in told(unopened)
    assert [f.cause for f in unopened.findings if f.status == "gap"] == ["environment"] * len(unopened.findings)

    flip(path, path.stat().st_size // 2)
    record = drill_of(path, keys=keys, level="integrity")
    assert record.verdict == "failed"
    assert "altered or cut short" in told(record)


def test_custom_archives_are_encrypted_and_read_on_every_major(
    every_server: Server,
    fresh_database: Callable[..., str],
    pg_dump: PgDump,
    identity: tuple[Keys, str],
    tmp_path: Path,
) -> None:
    keys, recipient = identity
    dsn = fresh_database(every_server)
    execute(dsn, _PEOPLE)
    result = make_backup(
        dsn,
        tmp_path / "own",
        format="custom",
        lock=Lock(recipients=(recipient,)),
        keys=keys,
        programs=every_server.programs,
    )
    assert result.path
    assert result.name.endswith(".dump.age")
    facts = result.manifest.archive
    assert facts
    assert facts.encryption
    stored = Stored()
    with open_dump_text(result.path, stored, keys=keys) as text:
        assert read_inventory(text) == result.manifest.inventory
    assert (stored.sha256, stored.inner_sha256) == (facts.sha256, facts.encryption.plain_sha256)
    for form in ("custom", "tar"):
        plain = pg_dump(every_server, dsn, tmp_path / f"theirs.{form}", f"--format={form}")
        sealed = plain.with_suffix(f".{form}.age")
        sealed.write_bytes(pyrage.encrypt(plain.read_bytes(), [pyrage.x25519.Recipient.from_str(recipient)]))
        with open_dump_text(plain) as text:
            expected = read_inventory(text)
        plain.unlink()
        with open_dump_text(sealed, keys=keys) as text:
            assert read_inventory(text) == expected


def test_damage_behind_the_last_entry_pg_restore_reads_is_seen(
    dsn: str, identity: tuple[Keys, str], tmp_path: Path, drill_of: DrillOf
) -> None:
    keys, recipient = identity
    path = make_backup(dsn, tmp_path, format="custom", lock=Lock(recipients=(recipient,)), keys=keys).path
    assert path
    path.with_name(path.name + SUFFIX).unlink()  # which would give it away by its digest
    assert drill_of(path, keys=keys, level="integrity").verdict == "verified"
    flip(path, path.stat().st_size - 1)
    assert drill_of(path, keys=keys, level="integrity").verdict == "failed"


def test_nothing_in_plain_lies_on_the_disk_while_an_archive_is_written(
    dsn: str, identity: tuple[Keys, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at after each piece that is written: what is there of the archive, and in the folder for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    seen: list[bytes] = []

    def look(_size_bytes: int) -> None:
        seen.extend(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    make_backup(dsn, tmp_path / "to", lock=Lock(recipients=(identity[1],)), compression="none", progress=look)
    assert any(data.startswith(b"age-encryption.org/v1") for data in seen)
    assert not any(b"Margarita" in data or b"PostgreSQL database dump" in data for data in seen)


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_a_format_that_would_lie_in_plain_for_a_while_is_refused(form: Any, dsn: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"of the format {form} is not encrypted"):
        make_backup(dsn, tmp_path / "to", format=form, lock=Lock(passphrase=PHRASE))
    assert not (tmp_path / "to").exists()


def test_a_key_that_does_not_open_what_was_written_publishes_nothing(
    dsn: str, identity: tuple[Keys, str], tmp_path: Path
) -> None:
    other = str(pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(WrongKeyError, match="for other recipients"):
        make_backup(dsn, tmp_path, lock=Lock(recipients=(other,)), keys=identity[0])
    assert LocalStore(tmp_path).items() == []


@pytest.mark.parametrize(("form", "key"), [("plain", "passphrase"), ("custom", "recipients")])
def test_pg_dump_that_fails_midway_publishes_nothing(
    form: Any, key: str, dsn: str, identity: tuple[Keys, str], server: Server, tmp_path: Path
) -> None:
    shim = tmp_path / "bin"
    shim.mkdir()
    for name in ("pg_dump", "pg_restore"):
        real = server.programs.program(name)
        (shim / name).write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
        (shim / name).chmod(0o755)
    libraries = "".join(f"export {name}='{value}'\n" for name, value in server.programs.env.items())
    real = server.programs.program("pg_dump")
    (shim / "pg_dump").write_text(
        f'#!/bin/sh\n{libraries}"{real}" "$@" | head -c 9000\necho "disk on fire" >&2\nexit 3\n'
    )
    lock = Lock(passphrase=PHRASE) if key == "passphrase" else Lock(recipients=(identity[1],))
    with pytest.raises(ProgramError, match="disk on fire"):
        make_backup(dsn, tmp_path / "to", format=form, lock=lock, programs=replace(server.programs, bin_dir=shim))
    assert LocalStore(tmp_path / "to").items() == []


def test_archives_of_the_guides_openssl_command_are_verified_and_said_to_be_unauthenticated(
    dsn: str, openssl: Callable[..., bytes], pg_dump: PgDump, server: Server, tmp_path: Path, drill_of: DrillOf
) -> None:
    plain = pg_dump(server, dsn, tmp_path / "plain.sql")
    path = tmp_path / "backup.sql.gz.enc"
    path.write_bytes(openssl(PHRASE, "-md", "md5", given=gzip.compress(plain.read_bytes())))
    keys = Keys(passphrase=PHRASE)
    record = drill_of(path, keys=keys)
    assert record.verdict == "verified", told(record)
    assert record.archive.encryption == "openssl enc -aes-256-cbc -md md5"
    assert any("does not authenticate" in sentence for sentence in record.not_proved)
    assert [f.object for f in record.findings if f.check == "integrity"] == ["encryption"]
    path.write_bytes(path.read_bytes()[:-4000])
    record = drill_of(path, keys=keys, level="integrity")
    assert record.verdict == "failed", told(record)


def test_an_archive_with_another_key_is_verified_against_the_promise_of_the_first(
    dsn: str, tmp_path: Path, identity: tuple[Keys, str], pgdrill: Pgdrill, drill_of: DrillOf
) -> None:
    keys, public = identity
    made = make_backup(dsn, tmp_path, lock=Lock(recipients=(public,)), keys=keys)
    variables = {"BACKUP_IDENTITY_FILE": str(keys.identity_files[0]), "BACKUP_ENCRYPT_PASSWORD": PHRASE}
    said = pgdrill("rewrap", "latest", "--backups", tmp_path, "--json", **variables)
    assert said.returncode == 0, said.stderr
    assert made.path
    assert drill_of(made.path, keys=keys, level="integrity").verdict == "could_not_verify"
    assert drill_of(made.path, keys=Keys(passphrase=PHRASE)).verdict == "verified"


def test_a_digest_of_an_encrypted_archive_that_is_none_fails_and_another_one_is_said(
    dsn: str, tmp_path: Path, identity: tuple[Keys, str], drill_of: DrillOf
) -> None:
    """What is inside is authentic and as promised; of what is around it the manifest must not keep nonsense."""
    keys, public = identity
    made = make_backup(dsn, tmp_path, lock=Lock(recipients=(public,)), keys=keys)
    assert made.path
    assert made.manifest.archive
    beside = made.path.with_name(made.path.name + SUFFIX)
    own, digest = beside.read_text(), made.manifest.archive.sha256
    beside.write_text(own.replace(digest, digest[:-1]))
    record = drill_of(made.path, keys=keys, level="integrity")
    assert record.verdict == "failed", told(record)
    assert [f.expected for f in record.findings if f.object == "SHA-256"] == [digest[:-1]], told(record)
    beside.write_text(own.replace(digest, "0" * 64))
    record = drill_of(made.path, keys=keys, level="integrity")
    assert record.verdict == "verified", told(record)
    assert [f.status for f in record.findings if f.object == "SHA-256"] == ["note"], told(record)
