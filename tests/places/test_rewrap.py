"""Other keys for archives that exist: the same inside, proved, and at every moment the old one or the new one whole."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fragile import Fragile, Interrupted
from object_stores import Bucket
from test_replicas import a_manifest, drill
from typer.testing import CliRunner

from backup_lib.catalog import resolve
from backup_lib.cli.app import app
from backup_lib.codec import open_text
from backup_lib.encryption import NO_KEYS, Keys, Lock, Seal
from backup_lib.errors import BackupError, DamagedArchiveError, WrongKeyError
from backup_lib.expiry import REPLACED, expire
from backup_lib.ledger import SUFFIX as LEDGER
from backup_lib.ledger import digest_stored, read_ledger, write_ledger
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest
from backup_lib.monitor.archives import read_promise
from backup_lib.places import open_place
from backup_lib.replicas import sync_places
from backup_lib.retention import Policy
from backup_lib.rewrap import plan_rewrap, rewrap
from backup_lib.staging import finish_interrupted
from backup_lib.store import LocalStore, Store
from backup_lib.successors import prove_sound

pyrage = pytest.importorskip("pyrage")

TEXT = b"--\n-- PostgreSQL database dump\n--\n\n" + b"".join(b"%d\tpapel, tijeras\n" % n for n in range(30_000))
NEXT = "pos_backup_20260101_020000.sql.gz"
PLAIN = "pos_backup_20250301_020000.sql.gz"
PHRASE, OTHER_PHRASE = "contraseña de prueba", "otra frase de prueba"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Lock, Keys]]:
    """`pair("old")`: a lock and the keys that open it."""
    folder = tmp_path_factory.mktemp("keys")

    def pair(name: str) -> tuple[Lock, Keys]:
        path = folder / name
        if not path.exists():
            path.write_text(f"{pyrage.x25519.Identity.generate()}\n")
        identity = pyrage.x25519.Identity.from_str(path.read_text().strip())
        return Lock(recipients=(str(identity.to_public()),)), Keys(identity_files=(path,))

    return pair


def put(store: Store, name: str, data: bytes) -> None:
    with store.create(name) as sink:
        sink.write(data)


def put_archive(store: Store, lock: Lock | None = None, *, drilled: bool = True) -> str:
    """An archive with its manifest, encrypted or not, that a drill verified."""
    stored = bytearray()
    with Seal(stored.extend, lock) as seal:
        seal.write(gzip.compress(TEXT))
        encryption = seal.finish()
    name = PLAIN + (".age" if lock else "")
    manifest = a_manifest(name, bytes(stored))
    assert manifest.archive
    put(store, name, bytes(stored))
    manifest = replace(manifest, archive=replace(manifest.archive, encryption=encryption))
    put(store, name + SUFFIX, render_manifest(manifest))
    if drilled:
        drill(store, name)
    return name


def read(store: Store, name: str, keys: Keys) -> bytes:
    return b"".join(open_text(store.open_read(name), name=name, keys=keys))


def run(store: Store, request: str, lock: Lock, old: Keys, new: Keys, **options: Any) -> str:
    """As the command does it; why it stayed as it was, if it did."""
    finish_interrupted(store)
    reason = ""
    for found in resolve([request], store):
        plan = plan_rewrap(found, lock, old, new)
        reason = plan.reason
        if not reason:
            rewrap(plan, lock, old, new, **options)
    return reason


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_an_archive_gets_another_key_and_keeps_its_name_its_promise_and_its_standing(
    place: str, tmp_path: Path, pair: Callable[[str], tuple[Lock, Keys]], request: pytest.FixtureRequest
) -> None:
    store = LocalStore(tmp_path / "backups") if place == "folder" else open_place(bucket_of(request)())
    (old_lock, old), (lock, new) = pair("old"), pair("new")
    name = put_archive(store, old_lock)
    before = parse_manifest(b"".join(store.open_read(name + SUFFIX)))
    both = Keys(identity_files=(*old.identity_files, *new.identity_files))

    assert run(store, "all", lock, old, both) == ""
    assert [item.name for item in store.items() if not item.is_folder] == [name, name + SUFFIX, name + LEDGER]
    assert read(store, name, new) == TEXT
    with pytest.raises(WrongKeyError):
        read(store, name, old)
    after = parse_manifest(b"".join(store.open_read(name + SUFFIX)))
    assert after.archive
    assert before.archive
    assert before.archive.encryption
    size_bytes, sha256 = digest_stored(store, name)
    assert (after.archive.size_bytes, after.archive.sha256) == (size_bytes, sha256)
    assert after.archive.encryption == replace(before.archive.encryption, recipients=lock.recipients, key_proved=True)
    assert replace(after, archive=before.archive) == before
    (entry,) = read_ledger(store, name).entries
    assert (entry.standing, entry.sha256, entry.rewrapped_from) == ("verified", sha256, before.archive.sha256)

    aside = store.under(REPLACED)
    assert read(aside, name, old) == TEXT
    assert parse_manifest(b"".join(aside.open_read(name + SUFFIX))) == before
    assert "already" in run(store, "all", lock, old, both)

    later = datetime(2026, 1, 10, tzinfo=UTC)
    expire(store, Policy(keep_days=9999), now=datetime(2025, 11, 1, tzinfo=UTC))  # the first prune that sees it
    put(store, NEXT, gzip.compress(TEXT))
    drill(store, NEXT)
    stored = b"".join(store.open_read(name))
    store.replace(name, stored[:-1] + bytes([stored[-1] ^ 1]))
    expire(store, Policy(keep_days=9999), now=later)
    assert read(aside, name, old) == TEXT  # what was made from it is damaged, so it may be all there is
    store.replace(name, stored)
    expire(store, Policy(keep_days=9999), now=later)
    assert list(aside.items()) == []
    assert read(store, name, new) == TEXT


def bucket_of(request: pytest.FixtureRequest) -> Bucket:
    use_s3: Callable[[str], Bucket] = request.getfixturevalue("use_s3")
    return use_s3(request.getfixturevalue("moto_endpoint"))


def test_a_drill_of_other_bytes_does_not_speak_for_the_new_archive(
    tmp_path: Path, pair: Callable[[str], tuple[Lock, Keys]]
) -> None:
    store = LocalStore(tmp_path)
    (old_lock, old), (lock, new) = pair("old"), pair("new")
    name = put_archive(store, old_lock)
    ledger = read_ledger(store, name)
    other = replace(ledger, entries=(replace(ledger.entries[0], sha256="0" * 64),))
    write_ledger(store, name, other)
    run(store, name, lock, old, new, keep=False)
    size_bytes, _ = digest_stored(store, name)  # two age files of one size: the size alone must not be believed
    assert read_ledger(store, name).conclusion(size_bytes=size_bytes) is None
    assert not (tmp_path / REPLACED).exists()


def test_one_passphrase_takes_the_place_of_another(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    old, new = Keys(passphrase=PHRASE), Keys(passphrase=OTHER_PHRASE)
    name = put_archive(store, Lock(passphrase=PHRASE))
    lock = Lock(passphrase=new.passphrase)
    assert run(store, name, lock, old, new) == ""
    assert read(store, name, new) == TEXT
    with pytest.raises(WrongKeyError):
        read(store, name, old)
    assert run(store, name, lock, old, new) == "this passphrase opens it already"


@pytest.mark.parametrize(
    "options", [(), ("-a",), ("-md", "md5"), ("-pbkdf2",), ("-pbkdf2", "-iter", "100000")], ids=" ".join
)
def test_files_of_openssl_become_age_files(
    options: tuple[str, ...],
    tmp_path: Path,
    pair: Callable[[str], tuple[Lock, Keys]],
    openssl: Callable[..., bytes],
    age: Callable[..., bytes],
) -> None:
    store, (lock, new) = LocalStore(tmp_path), pair("new")
    put(store, "backup.sql.enc", openssl(PHRASE, *options, given=TEXT))
    os.utime(tmp_path / "backup.sql.enc", (1_700_000_000, 1_700_000_000))
    run(store, "backup.sql.enc", lock, Keys(passphrase=PHRASE), new)
    assert (tmp_path / "backup.sql.age").stat().st_mtime == 1_700_000_000
    assert age("--decrypt", "-i", str(new.identity_files[0]), given=(tmp_path / "backup.sql.age").read_bytes()) == TEXT
    assert (tmp_path / REPLACED / "backup.sql.enc").exists()
    assert not (tmp_path / "backup.sql.enc").exists()
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} <= {".ledger.lock", ".rewrap-lock"}


def test_files_that_were_never_drilled_go_when_what_was_made_of_them_is(
    tmp_path: Path, openssl: Callable[..., bytes]
) -> None:
    """Twice another key: both old files stand behind the one that is left."""
    store, name = LocalStore(tmp_path), f"{PLAIN}.enc"
    put(store, name, openssl(PHRASE, given=gzip.compress(TEXT)))
    first, second = Keys(passphrase=OTHER_PHRASE), Keys(passphrase=f"{OTHER_PHRASE} y otra")
    run(store, "all", Lock(passphrase=first.passphrase), Keys(passphrase=PHRASE), first)
    run(store, "all", Lock(passphrase=second.passphrase), first, second)
    aside = store.under(REPLACED)
    assert [item.name for item in aside.items()] == [f"{PLAIN}.age", f"{PLAIN}.age{LEDGER}", name]
    expire(store, Policy(keep_days=9999), now=datetime(2025, 11, 1, tzinfo=UTC))
    put(store, NEXT, gzip.compress(TEXT))
    drill(store, NEXT)
    expire(store, Policy(keep_days=9999), now=datetime(2026, 1, 10, tzinfo=UTC))
    assert aside.exists(name)  # what was made of it is not verified
    drill(store, f"{PLAIN}.age")
    expire(store, Policy(keep_days=9999), now=datetime(2026, 1, 10, tzinfo=UTC))
    assert list(aside.items()) == []
    assert read(store, f"{PLAIN}.age", second) == TEXT


def test_a_wrong_key_and_damage_are_told_apart_and_change_nothing(
    tmp_path: Path, pair: Callable[[str], tuple[Lock, Keys]], openssl: Callable[..., bytes]
) -> None:
    store = LocalStore(tmp_path)
    (old_lock, old), (lock, new), (_, other) = pair("old"), pair("new"), pair("other")
    name = put_archive(store, old_lock)
    whole = (tmp_path / name).read_bytes()
    cases: list[tuple[str, bytes, Keys, type[BackupError], str]] = [
        ("the wrong key", whole, other, WrongKeyError, "for other recipients"),
        ("no key", whole, NO_KEYS, WrongKeyError, "no identity was given"),
        ("a byte flipped", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], old, DamagedArchiveError, "damaged"),
        ("cut short", whole[:-1000], old, DamagedArchiveError, "damaged"),
        (
            "the key itself damaged",
            whole[:60] + b"AAAA" + whole[64:],
            old,
            DamagedArchiveError,
            "its manifest promises",
        ),
    ]
    enc = openssl(PHRASE, given=gzip.compress(TEXT))
    right = Keys(passphrase=PHRASE)
    middle = len(enc) // 2
    cases += [
        ("openssl, cut short", enc[:-8], right, DamagedArchiveError, "has no end"),
        (
            "openssl, a byte flipped",
            enc[:middle] + bytes([enc[middle] ^ 1]) + enc[middle + 1 :],
            right,
            DamagedArchiveError,
            "inside its encryption",
        ),
    ]
    for what, data, keys, error, said in cases:
        path = tmp_path / ("x.sql.gz.enc" if "openssl" in what else name)
        path.write_bytes(data)
        before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file() and file.name[0] != "."}
        with pytest.raises(error, match=said):
            run(store, path.name, lock, keys, new)
        after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file() and file.name[0] != "."}
        assert after == before, what
        assert not store.under(".rewrapping").folder.exists() or not store.under(".rewrapping").items(), what


def test_without_the_new_secret_key_nothing_is_done(tmp_path: Path, pair: Callable[[str], tuple[Lock, Keys]]) -> None:
    store = LocalStore(tmp_path)
    (old_lock, old), (lock, _) = pair("old"), pair("new")
    name = put_archive(store, old_lock)
    for new in (NO_KEYS, old):  # none, and one that does not open the new archive
        with pytest.raises(WrongKeyError):
            run(store, name, lock, old, new)
    assert read(store, name, old) == TEXT


# Interrupted


@pytest.mark.parametrize("keep", [True, False], ids=["keep", "remove"])
@pytest.mark.parametrize("encrypted", [True, False], ids=["same-name", "other-name"])
def test_interrupted_anywhere_it_is_the_old_archive_or_the_new_one_and_the_next_run_ends_it(
    *, encrypted: bool, keep: bool, tmp_path: Path, pair: Callable[[str], tuple[Lock, Keys]]
) -> None:
    (old_lock, old), (lock, new) = pair("old"), pair("new")
    both = Keys(identity_files=(*old.identity_files, *new.identity_files))
    for changes in range(40):
        store = Fragile(tmp_path / str(changes))
        Fragile.left[0] = 1000
        name = put_archive(store, old_lock if encrypted else None)
        Fragile.left[0] = changes
        try:
            run(store, name, lock, old, new, keep=keep)
        except Interrupted:
            ended = False
        else:
            ended = True
        Fragile.left[0] = 1000
        there = [file for file in (name, PLAIN + ".age") if store.exists(file)]
        assert there, changes
        for file in there:
            assert read(store, file, both) == TEXT
        for beside in (found for found in resolve(["all"], store) if found.store is store):
            promise, (size_bytes, sha256) = read_promise(beside), digest_stored(store, beside.name)
            assert beside.has_manifest, (changes, beside.name)
            assert promise, changes
            assert promise.archive, changes
            assert promise.archive.fits(size_bytes, sha256), (changes, beside.name)
            assert prove_sound(beside).is_proved, (changes, beside.name)
            assert {one.status for one in sync_places([store], dry_run=True)} == {"equal"}, changes
        with suppress(BackupError):
            run(store, name, lock, both, both, keep=keep)  # gone meanwhile, if all was done but to say so
        finish_interrupted(store)
        (found,) = resolve(["all"], store)
        assert found.name == PLAIN + ".age"
        assert read(store, found.name, new) == TEXT
        manifest = parse_manifest(b"".join(store.open_read(found.manifest_name)))
        assert manifest.archive
        assert manifest.archive.sha256 == digest_stored(store, found.name)[1], changes
        assert read_ledger(store, found.name).conclusion(size_bytes=found.size_bytes), changes
        assert store.under(REPLACED).exists(name) == keep, changes
        if ended:
            break
    else:
        pytest.fail("it never came to its end")


# The command


def test_the_command_says_what_it_would_do_and_did_and_one_that_fails_stops_no_other(
    tmp_path: Path, pair: Callable[[str], tuple[Lock, Keys]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    (_, old), (lock, new), (stranger, _) = pair("old"), pair("new"), pair("other")
    put_archive(store)
    (tmp_path / "recipients").write_text("# ana\n" + lock.recipients[0] + "\n")
    put(store, "x.sql.age", b"")
    sealed = bytearray()
    with Seal(sealed.extend, stranger) as seal:
        seal.write(TEXT)
        seal.finish()
    (tmp_path / "x.sql.age").write_bytes(sealed)
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path))
    monkeypatch.setenv("BACKUP_IDENTITY_FILE", str(new.identity_files[0]))
    words = ["rewrap", "all", "--recipients-file", str(tmp_path / "recipients"), "--json"]

    planned = CliRunner().invoke(app, [*words, "--dry-run"])
    assert planned.exit_code == 12, planned.output
    assert store.exists(PLAIN)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 12
    for said, proved in ((planned, False), (done, True)):
        told = {one["name"]: one for one in json.loads(said.stdout)["archives"]}
        assert told[PLAIN]["new_name"] == PLAIN + ".age"
        assert (told[PLAIN]["sha256"] is not None) == proved
        assert "for other recipients" in told["x.sql.age"]["failure"]
    assert read(store, PLAIN + ".age", new) == TEXT
    with suppress(WrongKeyError):
        read(store, PLAIN + ".age", old)
        pytest.fail("the old key opens it")
