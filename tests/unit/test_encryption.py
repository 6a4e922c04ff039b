"""Encryption as streams, held against the programs `age` and `openssl`: nothing passes altered, no key is confused."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from backup_lib import age_passphrase, age_recipients
from backup_lib.chunks import Digest
from backup_lib.codec import Compressor, Wrapping, open_text
from backup_lib.encryption import NO_KEYS, Keys, Lock, Seal, choose_lock, keys_from_environment, looks_like_dump
from backup_lib.errors import DamagedArchiveError, UsageError, WrongKeyError
from backup_lib.manifest import Encryption

pyrage = pytest.importorskip("pyrage")

TEXT = b"--\n-- PostgreSQL database dump\n--\n\n" + b"".join(b"%d\tpapel, tijeras\n" % n for n in range(9000))
PHRASE, OTHER = "contraseña de prueba", "otra"
RIGHT, WRONG = Keys(passphrase=PHRASE), Keys(passphrase=OTHER)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, str]:
    """A secret key's file, and its public key."""
    return new_identity(tmp_path_factory.mktemp("identity"))


def new_identity(folder: Path) -> tuple[Keys, str]:
    key = pyrage.x25519.Identity.generate()
    path = folder / "key.txt"
    path.write_text(f"# public key: {key.to_public()}\n{key}\n")
    return Keys(identity_files=(path,)), str(key.to_public())


def sealed(data: bytes, lock: Lock, keys: Keys = NO_KEYS) -> tuple[bytes, Encryption | None]:
    stored = bytearray()
    with Seal(stored.extend, lock, keys) as seal:
        for start in range(0, len(data), 50_000):
            seal.write(data[start : start + 50_000])
        facts = seal.finish()
    return bytes(stored), facts


def opened(data: bytes, keys: Keys, *, step: int = 10_000) -> bytes:
    return b"".join(open_text((data[i : i + step] for i in range(0, len(data), step)), name="x", keys=keys))


def by_passphrase(data: bytes) -> bytes:
    """Encrypted with little work, for tests that open it often."""
    stored = bytearray()
    with age_passphrase.encrypting(stored.extend, PHRASE, work_factor=1) as write:
        write(data)
    return bytes(stored)


def for_recipient(data: bytes, recipient: str) -> bytes:
    stored = bytearray()
    with age_recipients.encrypting(stored.extend, age_recipients.parse_recipients([recipient])) as write:
        write(data)
    return bytes(stored)


# Against the other programs


def test_age_opens_what_is_sealed_with_a_passphrase_and_the_key_is_proved(age: Callable[..., bytes]) -> None:
    packed = gzip.compress(TEXT, 0)  # of several chunks
    stored, facts = sealed(packed, Lock(passphrase=PHRASE))
    assert age("--decrypt", given=stored, passphrase=PHRASE) == packed
    digest = Digest()
    digest.update(packed)
    assert facts == Encryption(
        algorithm="age",
        key="passphrase",
        key_proved=True,
        plain_size_bytes=len(packed),
        plain_sha256=digest.sha256,
    )


def test_what_age_encrypts_with_a_passphrase_is_read(age: Callable[..., bytes]) -> None:
    stored = age("--passphrase", given=TEXT, passphrase=PHRASE)
    assert opened(stored, RIGHT) == TEXT


def test_age_opens_what_is_sealed_for_recipients(age: Callable[..., bytes], identity: tuple[Keys, str]) -> None:
    keys, recipient = identity
    stored, facts = sealed(TEXT, Lock(recipients=(recipient,)), keys)
    assert age("--decrypt", "-i", str(keys.identity_files[0]), given=stored) == TEXT
    assert facts
    assert (facts.recipients, facts.key_proved) == ((recipient,), True)


@pytest.mark.parametrize("options", [(), ("--armor",)], ids=["binary", "armored"])
def test_what_age_encrypts_for_a_recipient_is_read(
    age: Callable[..., bytes], identity: tuple[Keys, str], options: tuple[str, ...]
) -> None:
    keys, recipient = identity
    stored = age("-r", recipient, *options, given=TEXT)
    assert opened(stored, keys) == TEXT
    with pytest.raises(DamagedArchiveError):
        opened(stored[:-40], keys)


def test_what_is_armored_with_a_passphrase_is_read_and_its_damage_seen() -> None:
    text = base64.b64encode(by_passphrase(TEXT))
    inside = [text[i : i + 64] + b"\n" for i in range(0, len(text), 64)]
    lines = [b"-----BEGIN AGE ENCRYPTED FILE-----\n", *inside, b"-----END AGE ENCRYPTED FILE-----\n"]
    assert opened(b"".join(lines), RIGHT, step=1000) == TEXT
    for damaged in (
        lines[:-1],
        [*lines[:50], *lines[51:]],
        [*lines[:60], b"!" + lines[60][1:], *lines[61:]],
        [*lines, b"more"],
    ):
        with pytest.raises(DamagedArchiveError):
            opened(b"".join(damaged), RIGHT)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="as the guide says"),
        pytest.param(("-md", "md5"), id="as openssl 1.0 did"),
        pytest.param(("-pbkdf2",), id="pbkdf2"),
        pytest.param(("-pbkdf2", "-iter", "100000", "-md", "sha512"), id="pbkdf2, sha512"),
        pytest.param(("-pbkdf2", "-iter", "4321"), id="uncommon iterations"),
        pytest.param(("-a",), id="base64"),
        pytest.param(("-a", "-A", "-pbkdf2"), id="base64 in one line"),
    ],
)
def test_what_openssl_encrypts_is_read_by_all_ways_it_makes_a_key(
    openssl: Callable[..., bytes], options: tuple[str, ...]
) -> None:
    stored = openssl(PHRASE, *options, given=gzip.compress(TEXT))
    keys = Keys(passphrase=PHRASE, openssl_iterations=4321)
    wrapping = Wrapping()
    assert b"".join(open_text([stored], keys=keys, wrapping=wrapping)) == TEXT
    assert (wrapping.authenticated, wrapping.plain.size_bytes) == (False, len(gzip.compress(TEXT)))
    for word in [option for option in options if option != "-A"] or ("-md", "sha256"):
        assert word in (wrapping.encryption or "")


def test_a_wrong_passphrase_is_one_and_not_damage(openssl: Callable[..., bytes]) -> None:
    for stored in (openssl(PHRASE, given=gzip.compress(TEXT)), by_passphrase(TEXT)):
        with pytest.raises(WrongKeyError, match="the passphrase does not open x"):
            opened(stored, WRONG)


@pytest.mark.parametrize("text", [TEXT, b"-- a\n", TEXT[:4096], TEXT[: 4096 + 16], b"PGDMP\x01\x0f\x00" + bytes(999)])
def test_openssl_gives_back_every_length_and_kind(openssl: Callable[..., bytes], text: bytes) -> None:
    chunks = openssl(PHRASE, given=text)
    for step in (1, 7, 16, 5000):
        if step > 1 or len(text) < 10_000:
            assert opened(chunks, RIGHT, step=step) == text


@pytest.mark.parametrize("spare", range(3))  # with and without = at its end
def test_openssl_in_base64_gives_back_every_byte_and_none_of_a_damaged_text(
    openssl: Callable[..., bytes], spare: int
) -> None:
    text = TEXT[: 70_000 + 16 * spare]
    stored = openssl(PHRASE, "-a", given=text)
    assert stored.isascii()
    for step in (7, 65, 5000, len(stored)):
        assert opened(stored, RIGHT, step=step) == text
    assert opened(stored.replace(b"\n", b"\r\n"), RIGHT) == text  # as a mail program leaves it
    for altered, said in (
        (stored[:9000] + b"!" + stored[9001:], "altered"),
        (stored[:-3], "no end"),
        (stored[:40_000], "no end"),
        (stored + b"AAAA", "altered|goes on|no end"),
    ):
        with pytest.raises(DamagedArchiveError, match=said):
            opened(altered, RIGHT)
    with pytest.raises(WrongKeyError, match="the passphrase does not open x"):
        opened(stored, WRONG)


def test_an_encrypted_nothing_is_called_empty_and_no_wrong_key(openssl: Callable[..., bytes]) -> None:
    for stored in (openssl(PHRASE, given=b""), by_passphrase(b"")):
        with pytest.raises(DamagedArchiveError, match="empty"):
            opened(stored, RIGHT)


# Damage


def test_every_altered_byte_of_an_age_file_is_seen(identity: tuple[Keys, str]) -> None:
    keys, recipient = identity
    packed = gzip.compress(b"-- PostgreSQL\n" + base64.b64encode(os.urandom(600)))
    for stored, key in ((by_passphrase(packed), RIGHT), (for_recipient(packed, recipient), keys)):
        assert opened(stored, key).startswith(b"-- PostgreSQL\n")
        for place in range(len(stored)):
            altered = bytearray(stored)
            altered[place] ^= 1 << place % 8
            if place < len(b"age-encryption.org/v1"):  # nobody can tell any more that it is one; nor is it a dump
                with suppress(DamagedArchiveError, WrongKeyError):
                    assert b"PostgreSQL" not in opened(bytes(altered), key)
                continue
            with pytest.raises((DamagedArchiveError, WrongKeyError)):
                opened(bytes(altered), key)


def test_every_length_an_age_file_can_be_cut_to_is_seen(identity: tuple[Keys, str]) -> None:
    keys, recipient = identity
    text = TEXT[:140_000]  # three chunks: cut after one, what is left is whole chunks
    for stored, key in ((by_passphrase(text), RIGHT), (for_recipient(text, recipient), keys)):
        header = len(stored) - len(text) - 3 * 16
        places = [header + n * (65_536 + 16) + more for n in range(3) for more in (-1, 0, 1, 17)]
        for place in [*places, len(stored) - 1, 30, 100]:
            with pytest.raises(DamagedArchiveError):
                opened(stored[:place], key)
        with pytest.raises(DamagedArchiveError):
            opened(stored + b"x", key)


def test_what_was_handed_out_before_the_damage_is_authentic() -> None:
    stored = bytearray(by_passphrase(TEXT))
    stored[-100] ^= 1
    got = Digest()
    with pytest.raises(DamagedArchiveError, match="cut off or altered, after 131072 decrypted bytes"):
        list(open_text([bytes(stored)], name="x", keys=RIGHT, plain=got))
    assert got.sha256 == hashlib.sha256(TEXT[:131_072]).hexdigest()


def test_openssl_damage_is_seen_by_what_is_inside(openssl: Callable[..., bytes]) -> None:
    stored = openssl(PHRASE, given=gzip.compress(TEXT))
    for place in range(200, len(stored), 997):
        altered = bytearray(stored)
        altered[place] ^= 4
        with pytest.raises(DamagedArchiveError):
            opened(bytes(altered), RIGHT)
    for length in (17, 31, len(stored) - 1, len(stored) - 16, len(stored) // 32 * 16):
        with pytest.raises((DamagedArchiveError, WrongKeyError)):
            opened(stored[:length], RIGHT)


def test_noise_never_looks_like_a_dump() -> None:
    """One wrong key in 256 gives a right padding, one in 65,536 the magic of gzip: neither may pass."""
    assert not any(looks_like_dump(os.urandom(4080)) for _ in range(30_000))
    assert all(map(looks_like_dump, (gzip.compress(TEXT), TEXT, b"", "-- Año\n".encode(), b"toc.dat\0" + bytes(500))))


# Keys


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        pytest.param(NO_KEYS, "for recipients, and no identity was given", id="none"),
        pytest.param(RIGHT, "for recipients, and no identity was given", id="a passphrase"),
    ],
)
def test_the_kind_of_key_that_lacks_is_named(identity: tuple[Keys, str], keys: Keys, said: str) -> None:
    with pytest.raises(WrongKeyError, match=said):
        opened(for_recipient(TEXT, identity[1]), keys)


def test_another_identity_is_a_wrong_key_and_not_damage(identity: tuple[Keys, str], tmp_path: Path) -> None:
    other, _ = new_identity(tmp_path)
    with pytest.raises(WrongKeyError, match="for other recipients"):
        opened(for_recipient(TEXT, identity[1]), other)
    with pytest.raises(WrongKeyError, match="with a passphrase, and none was given"):
        opened(by_passphrase(TEXT), other)
    with pytest.raises(WrongKeyError, match="for other recipients"):
        sealed(TEXT, Lock(recipients=(identity[1],)), other)  # as a backup proves its key


def test_without_an_identity_the_key_is_said_to_be_unproved(identity: tuple[Keys, str]) -> None:
    _, facts = sealed(TEXT, Lock(recipients=(identity[1],)))
    assert facts
    assert not facts.key_proved


def test_ssh_keys_are_recipients_and_identities(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "id").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    recipient = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert opened(for_recipient(TEXT, recipient), Keys(identity_files=(tmp_path / "id",))) == TEXT


def test_no_key_is_shown_when_keys_or_locks_are(identity: tuple[Keys, str]) -> None:
    assert PHRASE not in repr(RIGHT) + repr(Lock(passphrase=PHRASE))


def test_a_secret_key_given_as_recipient_is_refused_and_not_repeated(identity: tuple[Keys, str]) -> None:
    secret = identity[0].identity_files[0].read_text().splitlines()[1]
    with pytest.raises(UsageError, match="a secret key was given") as refused:
        choose_lock({}, encrypt=True, recipients=[secret])
    assert secret[20:] not in str(refused.value)


@pytest.mark.parametrize(
    ("env", "encrypt", "kind"),
    [
        pytest.param({}, None, None, id="nothing said"),
        pytest.param({"BACKUP_ENCRYPT_PASSWORD": "x"}, None, None, id="a password alone does not encrypt"),
        pytest.param({"BACKUP_ENCRYPT_PASSWORD": "x"}, True, "passphrase", id="password"),
        pytest.param({"BACKUP_ENCRYPT_PASSWORD_FILE": "{file}"}, True, "passphrase", id="password in a file"),
        pytest.param({"BACKUP_RECIPIENTS": "{key}, {key}"}, None, "recipients", id="recipients"),
        pytest.param({"BACKUP_RECIPIENTS_FILE": "{keys}"}, True, "recipients", id="recipients in a file"),
        pytest.param(
            {"BACKUP_RECIPIENTS": "{key}", "BACKUP_ENCRYPT_PASSWORD": "x"}, True, "recipients", id="recipients before"
        ),
    ],
)
def test_what_archives_are_encrypted_with(
    tmp_path: Path, identity: tuple[Keys, str], env: dict[str, str], encrypt: Any, kind: str | None
) -> None:
    (tmp_path / "password").write_text("of a file \n")
    (tmp_path / "keys").write_text(f"# the safe\n{identity[1]}\n\n")
    there = {"file": tmp_path / "password", "key": identity[1], "keys": tmp_path / "keys"}
    lock = choose_lock({name: value.format(**there) for name, value in env.items()}, encrypt=encrypt)
    if kind is None:
        assert lock is None
    elif kind == "passphrase":
        assert lock
        assert lock.passphrase in ("x", "of a file ")
    else:
        assert lock == Lock(recipients=(identity[1],))


@pytest.mark.parametrize(
    ("env", "encrypt", "said"),
    [
        pytest.param({}, True, "there is no key", id="no key"),
        pytest.param({"BACKUP_ENCRYPT_PASSWORD": ""}, True, "there is no key", id="empty"),
        pytest.param({"BACKUP_RECIPIENTS": "age1x"}, None, "'age1x' is no age recipient", id="mistyped"),
        pytest.param({"BACKUP_RECIPIENTS": "age1x"}, False, "says not to encrypt", id="contradiction"),
        pytest.param({"BACKUP_RECIPIENTS_FILE": "/dev/null"}, None, "holds none", id="empty file"),
        pytest.param({"BACKUP_ENCRYPT_PASSWORD_FILE": "/nowhere"}, True, "cannot be read", id="no such file"),
    ],
)
def test_a_backup_that_could_not_be_encrypted_as_meant_is_refused(env: dict[str, str], encrypt: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose_lock(env, encrypt=encrypt)


def test_keys_are_taken_from_the_environment_and_those_named_count_first() -> None:
    env = {"BACKUP_ENCRYPT_PASSWORD": "x", "BACKUP_IDENTITY_FILE": "/a", "BACKUP_OPENSSL_ITERATIONS": "77"}
    keys = keys_from_environment(env)
    assert (keys.passphrase, keys.identity_files, keys.openssl_iterations) == ("x", (Path("/a"),), 77)
    assert keys_from_environment(env, identity_files=[Path("/b")]).identity_files == (Path("/b"),)
    with pytest.raises(UsageError, match="BACKUP_OPENSSL_ITERATIONS is 'many'"):
        keys_from_environment({"BACKUP_OPENSSL_ITERATIONS": "many"})


def test_a_password_file_with_nothing_in_it_is_no_passphrase(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    assert keys_from_environment({"BACKUP_ENCRYPT_PASSWORD_FILE": str(tmp_path / "secret")}).passphrase is None
    with pytest.raises(UsageError, match="which cannot be read: Is a directory"):
        keys_from_environment({"BACKUP_ENCRYPT_PASSWORD_FILE": str(tmp_path)})


@pytest.mark.parametrize("content", ["", "no key\n", "AGE-SECRET-KEY-1NOTONE\n"])
def test_an_identity_file_without_a_key_is_named_without_its_content(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.txt").write_text(content)
    with pytest.raises(UsageError, match=r"key\.txt holds no age identity") as refused:
        age_recipients.read_identities(tmp_path / "key.txt")
    assert "NOTONE" not in str(refused.value)


# Streams


class FullError(OSError):
    pass


def write_all(seal: Seal, text: bytes) -> None:
    seal.write(text)
    seal.finish()


@pytest.mark.parametrize("after_bytes", [0, 100, 200_000], ids=["at once", "in the last flush", "midway"])
def test_an_error_of_the_sink_is_raised_and_never_swallowed(identity: tuple[Keys, str], after_bytes: int) -> None:
    """pyrage writes its last bytes when it drops a buffer, and passes over the error then."""
    taken = 0

    def sink(data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        if taken > after_bytes:
            raise FullError

    text = b"x" * (500 if after_bytes == 100 else 1_000_000)
    with pytest.raises(FullError), Seal(sink, Lock(recipients=(identity[1],))) as seal:
        write_all(seal, text)


def test_an_error_of_the_source_is_raised_as_it_is(identity: tuple[Keys, str]) -> None:
    keys, recipient = identity
    stored = for_recipient(os.urandom(300_000), recipient)

    def chunks():  # type: ignore[no-untyped-def]
        yield stored[:200_000]
        raise FullError

    with pytest.raises(FullError):
        list(age_recipients.decrypted(chunks(), age_recipients.read_identities(keys.identity_files[0]), name="x"))


def test_leaving_early_leaves_no_thread_and_no_descriptor(identity: tuple[Keys, str]) -> None:
    keys, recipient = identity
    stored = for_recipient(b"-- text\n" * 2_000_000, recipient)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(3):
        chunks = open_text([stored], name="x", keys=keys)
        assert next(chunks).startswith(b"-- text")
        del chunks
    after = len(list(Path("/proc/self/fd").iterdir())) if before else 0
    assert after == before


def test_compressed_then_sealed_is_what_unsealed_then_decompressed_gives(identity: tuple[Keys, str]) -> None:
    keys, recipient = identity
    stored = bytearray()
    with Seal(stored.extend, Lock(recipients=(recipient,)), keys) as seal:
        compressor = Compressor(seal.write, "zstd")
        compressor.write(TEXT)
        compressor.finish()
        seal.finish()
    assert opened(bytes(stored), keys) == TEXT
