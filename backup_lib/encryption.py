"""Encryption of archives: who can open them, and what is inside.

Archives are encrypted as age files, with a passphrase or for recipients, while they are written: nothing of them
lies on a disk in plain. Those of age and of `openssl enc` are read, as streams too. What keys there are is given
by the caller, once, as `Keys`.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from backup_lib.archive import compression_of, encryption_of
from backup_lib.armor import is_armored, without_armor
from backup_lib.chunks import Digest, peek
from backup_lib.errors import TAKE_ANOTHER, DamagedArchiveError, UsageError, WrongKeyError
from backup_lib.manifest import Encryption
from backup_lib.variables import read_variable

_HEAD_BYTES = 64 * 1024
_PROOF_BYTES = 256 * 1024  # of the encrypted stream: header and more than one chunk, however many recipients
_TEXT_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What encrypted archives can be opened with. Never printed."""

    passphrase: str | None = field(default=None, repr=False)
    identity_files: tuple[Path, ...] = ()
    openssl_iterations: int | None = None  # of `openssl enc -pbkdf2 -iter`, where it is an uncommon number


NO_KEYS = Keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What an archive is encrypted with: a passphrase, or for recipients, which need none here."""

    passphrase: str | None = field(default=None, repr=False)
    recipients: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.passphrase) == bool(self.recipients):
            raise ValueError("a lock is a passphrase or recipients")


def keys_from_environment(env: Mapping[str, str], *, identity_files: Sequence[Path] = ()) -> Keys:
    """`BACKUP_ENCRYPT_PASSWORD` or `…_FILE`, `BACKUP_IDENTITY_FILE`, `BACKUP_OPENSSL_ITERATIONS`.

    :param identity_files: named by a person; they count instead of the variable's.
    :raises UsageError: when a variable cannot be what it says.
    """
    named = env.get("BACKUP_IDENTITY_FILE")
    iterations = env.get("BACKUP_OPENSSL_ITERATIONS") or ""
    if iterations and not (iterations.isdigit() and 0 < int(iterations) <= 100_000_000):
        raise UsageError(
            f"BACKUP_OPENSSL_ITERATIONS is {iterations!r}", hint="write the number that openssl enc -iter was given"
        )
    return Keys(
        passphrase=read_variable(env, "BACKUP_ENCRYPT_PASSWORD"),
        identity_files=tuple(identity_files) or ((Path(named),) if named else ()),
        openssl_iterations=int(iterations) if iterations else None,
    )


def keys_before(env: Mapping[str, str], keys: Keys) -> Keys:
    """What archives were encrypted with before the key was changed: `BACKUP_OLD_ENCRYPT_PASSWORD` or `…_FILE`.

    :param keys: that hold where there is no such variable.
    """
    old = read_variable(env, "BACKUP_OLD_ENCRYPT_PASSWORD")
    return replace(keys, passphrase=old) if old is not None else keys


def choose_lock(env: Mapping[str, str], *, encrypt: bool | None, recipients: Sequence[str] = ()) -> Lock | None:
    """What to encrypt with; None: not at all.

    Recipients count before a passphrase: who gives one for reading old archives still writes for recipients.
    :param encrypt: said by a person or `BACKUP_ENCRYPT`; None: only if there are recipients.
    :param recipients: else those of `BACKUP_RECIPIENTS` and `BACKUP_RECIPIENTS_FILE`.
    :raises UsageError: when it is to be encrypted and there is nothing to do it with, or the contrary.
    """
    chosen = tuple(dict.fromkeys(recipients or _recipients_from_environment(env)))
    if encrypt is False and chosen:
        raise UsageError(
            "recipients are given, and BACKUP_ENCRYPT or --no-encrypt says not to encrypt",
            hint="unset BACKUP_RECIPIENTS for a backup in plain, or BACKUP_ENCRYPT to encrypt for them",
        )
    if chosen:
        with _extra():
            from backup_lib.age_recipients import parse_recipients
        parse_recipients(chosen)
        return Lock(recipients=chosen)
    if not encrypt:
        return None
    passphrase = read_variable(env, "BACKUP_ENCRYPT_PASSWORD")
    if not passphrase:
        raise UsageError(
            "the archive is to be encrypted, and there is no key",
            hint="set BACKUP_ENCRYPT_PASSWORD or BACKUP_ENCRYPT_PASSWORD_FILE, or name recipients: "
            "--recipient age1… (age-keygen makes a pair)",
        )
    return Lock(passphrase=passphrase)


def _recipients_from_environment(env: Mapping[str, str]) -> tuple[str, ...]:
    named = env.get("BACKUP_RECIPIENTS", "")
    listed = [part.strip() for part in named.replace("\n", ",").split(",")]
    if path := env.get("BACKUP_RECIPIENTS_FILE"):
        listed += recipients_of_file(Path(path))
    return tuple(filter(None, listed))


def recipients_of_file(path: Path) -> tuple[str, ...]:
    """Public keys, one a line; `#` begins a comment.

    :raises UsageError: when it cannot be read, or holds none.
    """
    with _extra():
        from backup_lib.age_recipients import read_recipients
    if found := read_recipients(path):
        return found
    raise UsageError(f"the recipients file {path} holds none", hint="write one a line: age1…")


# Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An encrypted stream that a key fits."""

    how: str  # for people: the program, and how its key was made
    authenticated: bool  # False: altered bytes may come out altered, and nothing tells
    chunks: Iterator[bytes]


def decrypt(head: bytes, chunks: Iterator[bytes], keys: Keys, *, name: str) -> Opened:
    """What an encrypted file holds.

    :param head: its first bytes, which tell what it is; `chunks` has them too.
    :raises WrongKeyError: when no key is given for it, or none fits: at once for a passphrase, while reading for
        identities; and when a program encrypted it that is not read.
    :raises DamagedArchiveError: at once or while reading, when it is altered or cut short.
    :raises UsageError: when the extra `age` is not installed, or an identity file cannot be read.
    """
    match encryption_of(head):
        case "age":
            return _decrypt_age(head, chunks, keys, name)
        case "openssl enc":
            return _decrypt_openssl(head, chunks, keys, name)
        case program:
            raise WrongKeyError(
                f"{name} is encrypted by {program}, which is not read",
                hint="decrypt it first: gpg --decrypt -o PLAIN ARCHIVE",
            )


def _decrypt_age(head: bytes, chunks: Iterator[bytes], keys: Keys, name: str) -> Opened:
    with _extra():
        from backup_lib import age_passphrase, age_recipients
    if is_armored(head):
        head, chunks = peek(without_armor(chunks, name=name), _HEAD_BYTES)
    if b"\n--- " not in head:
        raise DamagedArchiveError(f"{name} is damaged: its age header has no end", hint=TAKE_ANOTHER)
    if age_passphrase.is_for_passphrase(head):
        if keys.passphrase is None:
            raise WrongKeyError(
                f"{name} is encrypted by age with a passphrase, and none was given",
                hint="set BACKUP_ENCRYPT_PASSWORD, or BACKUP_ENCRYPT_PASSWORD_FILE to a file that holds it",
            )
        plain = age_passphrase.decrypted(chunks, keys.passphrase, name=name)
        return Opened(how="age, passphrase", authenticated=True, chunks=plain)
    if not keys.identity_files:
        raise WrongKeyError(
            f"{name} is encrypted by age for recipients, and no identity was given",
            hint="name the file with a recipient's secret key: --identity FILE or BACKUP_IDENTITY_FILE",
        )
    identities = [key for path in keys.identity_files for key in age_recipients.read_identities(path)]
    plain = age_recipients.decrypted(chunks, identities, name=name)
    return Opened(how="age, recipients", authenticated=True, chunks=plain)


def _decrypt_openssl(head: bytes, chunks: Iterator[bytes], keys: Keys, name: str) -> Opened:
    with _extra():
        from backup_lib import openssl_enc
    if keys.passphrase is None:
        raise WrongKeyError(
            f"{name} is encrypted by openssl enc, and no passphrase was given",
            hint="set BACKUP_ENCRYPT_PASSWORD, or BACKUP_ENCRYPT_PASSWORD_FILE to a file that holds it",
        )
    if is_base64 := openssl_enc.is_base64(head):
        chunks = openssl_enc.without_base64(chunks, name=name)
    options, plain = openssl_enc.decrypted(
        chunks, keys.passphrase, name=name, is_plain=looks_like_dump, iterations=keys.openssl_iterations
    )
    return Opened(
        how=f"openssl enc{' -a' if is_base64 else ''} -aes-256-cbc {options}", authenticated=False, chunks=plain
    )


def looks_like_dump(head: bytes) -> bool:
    """Whether bytes are what is worth encrypting: a packed file, an archive, text; noise is so once in 10^7.

    No bytes at all are: of an empty file.
    """
    if head.startswith((b"PGDMP", b"toc.dat\0", b"BZh9", b"\xfd7zXZ\0", b"PK\x03\x04")) or head[257:262] == b"ustar":
        return True
    if compression_of(head) == "gzip":
        return head[2:3] == b"\x08" and head[3:4] < b"\x20"  # deflate, and no flag that does not exist
    if compression_of(head) == "zstd":
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head[:_TEXT_BYTES].removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n" for character in text)


# Writing


class Seal:
    """Encrypts what is written to it, while it is open, and hands it on to `sink`; without a lock it hands on as is.

    `finish` writes the end and proves the key. Left without it, what `sink` was given is to be thrown away.
    """

    def __init__(self, sink: Callable[[bytes], object], lock: Lock | None, keys: Keys = NO_KEYS) -> None:
        self._sink = sink
        self._lock = lock
        self._keys = keys
        self._open = ExitStack()
        self._plain = Digest()
        self._plain_head = bytearray()
        self._sealed_head = bytearray()

    def __enter__(self) -> Seal:
        if self._lock is not None:
            self._write = self._open.enter_context(_encrypting(self._keep, self._lock))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, exc, trace)

    def write(self, data: bytes) -> None:
        if self._lock is None:
            self._sink(data)
            return
        self._plain.update(data)
        if len(self._plain_head) < _HEAD_BYTES:
            self._plain_head += data[:_HEAD_BYTES]
        self._write(data)

    def finish(self) -> Encryption | None:
        """What is to be known of it; None: not encrypted.

        :raises WrongKeyError: when identities are given, and none opens what was written.
        """
        if self._lock is None:
            return None
        self._open.close()
        return Encryption(
            algorithm="age",
            key="recipients" if self._lock.recipients else "passphrase",
            recipients=self._lock.recipients,
            key_proved=self._prove(self._lock),
            plain_size_bytes=self._plain.size_bytes,
            plain_sha256=self._plain.sha256,
        )

    def _keep(self, data: bytes) -> None:
        if len(self._sealed_head) < _PROOF_BYTES:
            self._sealed_head += data[:_PROOF_BYTES]
        self._sink(data)

    def _prove(self, lock: Lock) -> bool:
        """Whether the head of what was written was opened again, and is what was to be encrypted."""
        if lock.recipients and not self._keys.identity_files:
            return False
        keys = Keys(passphrase=lock.passphrase, identity_files=self._keys.identity_files)
        head = bytes(self._sealed_head)
        opened = decrypt(head, iter([head]), keys, name="the new archive")
        first = next(opened.chunks, b"")[:_HEAD_BYTES]
        if (not first and self._plain.size_bytes) or not self._plain_head.startswith(first):
            raise DamagedArchiveError(
                "what was encrypted does not decrypt to what it was",
                hint="this machine's memory or its libraries are not to be trusted: back up on another one",
            )
        return True


def _encrypting(sink: Callable[[bytes], object], lock: Lock) -> AbstractContextManager[Callable[[bytes], object]]:
    with _extra():
        from backup_lib import age_passphrase, age_recipients
    if lock.passphrase is not None:
        return age_passphrase.encrypting(sink, lock.passphrase)
    return age_recipients.encrypting(sink, age_recipients.parse_recipients(lock.recipients))


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        raise UsageError(
            f"encryption needs the libraries of the extra age: {exc}", hint="install them: pip install 'pgdrill[age]'"
        ) from exc


def is_installed() -> bool:
    """Whether encrypted archives can be read and written here."""
    try:
        with _extra():
            from backup_lib import age_passphrase, age_recipients, openssl_enc  # noqa: F401 - tried
    except UsageError:
        return False
    return True
