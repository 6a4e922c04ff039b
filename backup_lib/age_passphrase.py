"""age files that a passphrase opens, as streams.

pyrage takes these whole in memory only, and a backup does not fit there. So this is the part of the format they
need, with cryptography's primitives: the header's one stanza, and the payload's chunks. Files for recipients are
`age_recipients`.

Source: the age specification, version 1 (C2SP, "age.md"); the tests hold it against `age` and pyrage.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backup_lib.errors import TAKE_ANOTHER, DamagedArchiveError, WrongKeyError

# `age` takes the same: 256 MiB and about a second for each guess.
WORK_FACTOR = 18
_MOST_WORK = 22  # 4 GiB; more is an attack on the reader, or damage
HEADER_BYTES = 4096  # more than any header with a passphrase

_START = b"age-encryption.org/v1\n-> scrypt "
_HEADER = re.compile(
    rb"(?P<signed>age-encryption\.org/v1\n-> scrypt (?P<salt>[A-Za-z0-9+/]{22}) (?P<work>[1-9][0-9]?)\n"
    rb"(?P<wrapped>[A-Za-z0-9+/]{43})\n---) (?P<mac>[A-Za-z0-9+/]{43})\n"
)
_SALT_BYTES = _KEY_BYTES = _NONCE_BYTES = 16
_CHUNK_BYTES = 64 * 1024
_SEALED_BYTES = _CHUNK_BYTES + 16  # with its authentication tag
_ZERO = bytes(12)


def is_for_passphrase(head: bytes) -> bool:
    return head.startswith(_START)


@contextmanager
def encrypting(
    sink: Callable[[bytes], object], passphrase: str, *, work_factor: int = WORK_FACTOR
) -> Iterator[Callable[[bytes], object]]:
    """Give what is to be encrypted to the function; the end is written when the context ends well."""
    file_key, salt = os.urandom(_KEY_BYTES), os.urandom(_SALT_BYTES)
    wrapped = ChaCha20Poly1305(_wrapping_key(passphrase, salt, work_factor)).encrypt(_ZERO, file_key, None)
    signed = _START + _base64(salt) + b" %d\n" % work_factor + _base64(wrapped) + b"\n---"
    nonce = os.urandom(_NONCE_BYTES)
    sink(signed + b" " + _mac(file_key, signed) + b"\n" + nonce)
    payload = _Payload(file_key, nonce)
    rest = bytearray()

    def write(data: bytes) -> None:
        rest.extend(data)
        whole = (len(rest) - 1) // _CHUNK_BYTES * _CHUNK_BYTES  # the last one is told apart, so one is kept back
        if whole > 0:
            sink(b"".join(payload.seal(rest[at : at + _CHUNK_BYTES]) for at in range(0, whole, _CHUNK_BYTES)))
            del rest[:whole]

    yield write
    sink(payload.seal(rest, last=True))


def decrypted(chunks: Iterable[bytes], passphrase: str, *, name: str) -> Iterator[bytes]:
    """What a file of `encrypting`, or of `age --passphrase`, holds. The header is read at once.

    :raises WrongKeyError: at once, when the passphrase is not the file's; or when the header's key was altered.
    :raises DamagedArchiveError: at once or while reading, when it is cut short or altered. What was handed out
        before is authentic.
    """
    remaining = iter(chunks)
    head = bytearray()
    for chunk in remaining:
        head += chunk
        if len(head) >= HEADER_BYTES:
            break
    header = _HEADER.match(head)
    if header is None or len(head) < header.end() + _NONCE_BYTES:
        raise DamagedArchiveError(f"{name} is damaged: its age header is cut short or altered", hint=TAKE_ANOTHER)
    file_key = _unwrap(header, passphrase, name)
    start = header.end() + _NONCE_BYTES
    payload = _Payload(file_key, bytes(head[header.end() : start]))
    return _opened(payload, head[start:], remaining, name)


def _opened(payload: _Payload, rest: bytearray, chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    plain_bytes = 0

    def damaged(what: str) -> DamagedArchiveError:
        return DamagedArchiveError(f"{name} is damaged: {what}, after {plain_bytes} decrypted bytes", hint=TAKE_ANOTHER)

    more = True
    while more:
        chunk = next(chunks, b"")
        more = bool(chunk)
        rest += chunk
        whole = max(0, (len(rest) - 1) // _SEALED_BYTES * _SEALED_BYTES)
        opened = []
        try:
            for at in range(0, whole, _SEALED_BYTES):
                opened.append(payload.open(rest[at : at + _SEALED_BYTES]))
        except InvalidTag as exc:
            raise damaged("its encrypted data was altered") from exc
        if text := b"".join(opened):
            yield text
            plain_bytes += len(text)
        del rest[:whole]
    try:
        last = payload.open(rest, last=True)
    except (InvalidTag, ValueError) as exc:
        raise damaged("the end of its encrypted data is cut off or altered") from exc
    if not last and plain_bytes:
        raise damaged("its encrypted data ends in an empty piece")
    yield last


def _unwrap(header: re.Match[bytes], passphrase: str, name: str) -> bytes:
    work = int(header["work"])
    if work > _MOST_WORK:
        raise DamagedArchiveError(f"{name} is damaged: its header asks for 2^{work} rounds", hint=TAKE_ANOTHER)
    key = _wrapping_key(passphrase, _bytes(header["salt"]), work)
    try:
        file_key = ChaCha20Poly1305(key).decrypt(_ZERO, _bytes(header["wrapped"]), None)
    except InvalidTag as exc:
        raise WrongKeyError(
            f"the passphrase does not open {name}",
            hint="give the one it was encrypted with: BACKUP_ENCRYPT_PASSWORD or BACKUP_ENCRYPT_PASSWORD_FILE",
        ) from exc
    if not hmac.compare_digest(_mac(file_key, header["signed"]), header["mac"]):
        raise DamagedArchiveError(f"{name} is damaged: its age header was altered", hint=TAKE_ANOTHER)
    return file_key


class _Payload:
    """The chunks of a payload, each sealed with its place, so that none can be moved or left out."""

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=nonce, info=b"payload").derive(file_key)
        self._cipher = ChaCha20Poly1305(key)
        self._place = 0

    def seal(self, plain: bytes | bytearray, *, last: bool = False) -> bytes:
        return self._cipher.encrypt(self._nonce(last=last), plain, None)

    def open(self, sealed: bytes | bytearray, *, last: bool = False) -> bytes:
        return self._cipher.decrypt(self._nonce(last=last), sealed, None)

    def _nonce(self, *, last: bool) -> bytes:
        nonce = self._place.to_bytes(11, "big") + bytes([last])
        self._place += 1
        return nonce


# One archive is opened several times in a drill, and this is made to be slow.
@lru_cache(maxsize=16)
def _wrapping_key(passphrase: str, salt: bytes, work_factor: int) -> bytes:
    memory_bytes = 128 * 8 * (1 << work_factor) + (1 << 20)
    return hashlib.scrypt(
        passphrase.encode(),
        salt=b"age-encryption.org/v1/scrypt" + salt,
        n=1 << work_factor,
        r=8,
        p=1,
        dklen=32,
        maxmem=memory_bytes,
    )


def _mac(file_key: bytes, signed: bytes) -> bytes:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"header").derive(file_key)
    return _base64(hmac.digest(key, signed, "sha256"))


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _bytes(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4))
