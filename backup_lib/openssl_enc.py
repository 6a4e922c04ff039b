"""Files of `openssl enc -aes-256-cbc -salt`, which many a guide recommends: read, never written.

They do not say how their key was made, and openssl's defaults have changed: so all ways are tried on the first
bytes. They are not authenticated: what comes out must show itself that it is whole.

Source: openssl's `apps/enc.c`; EVP_BytesToKey(3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from backup_lib.errors import TAKE_ANOTHER, DamagedArchiveError, WrongKeyError

_MAGIC = b"Salted__"
_BASE64_MAGIC = b"U2FsdGVkX1"  # as far as it does not depend on the salt
_SALT_BYTES = 8
_HEADER_BYTES = len(_MAGIC) + _SALT_BYTES
_BLOCK_BYTES = 16
_KEY_AND_IV_BYTES = 48
TRIAL_BYTES = 4096  # enough to tell a dump from noise
# What openssl takes with -pbkdf2 alone, and what guides advise with -iter.
_ITERATIONS = (10_000, 100_000, 1_000, 20_000, 50_000, 200_000, 250_000, 310_000, 500_000, 600_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """How a key was made of the passphrase."""

    label: str  # the options of openssl enc that do the same
    derive: Callable[[bytes, bytes], bytes]  # passphrase and salt to key and IV


def derivations(iterations: int | None = None) -> Iterator[Derivation]:
    """All that are tried, the likely ones first.

    :param iterations: given by a person, if other than the usual ones.
    """
    for digest in ("sha256", "md5"):
        yield Derivation(label=f"-md {digest}", derive=_bytes_to_key(digest))
    for rounds in dict.fromkeys(filter(None, (iterations, *_ITERATIONS))):
        for digest in ("sha256", "sha512"):
            yield Derivation(label=f"-pbkdf2 -iter {rounds} -md {digest}", derive=_pbkdf2(digest, rounds))
    for digest in ("sha512", "sha1"):
        yield Derivation(label=f"-md {digest}", derive=_bytes_to_key(digest))


def _bytes_to_key(digest: str) -> Callable[[bytes, bytes], bytes]:
    def derive(passphrase: bytes, salt: bytes) -> bytes:
        made = block = b""
        while len(made) < _KEY_AND_IV_BYTES:
            block = hashlib.new(digest, block + passphrase + salt, usedforsecurity=False).digest()
            made += block
        return made[:_KEY_AND_IV_BYTES]

    return derive


def _pbkdf2(digest: str, rounds: int) -> Callable[[bytes, bytes], bytes]:
    return lambda passphrase, salt: _slowly(digest, rounds, passphrase, salt)


@lru_cache(maxsize=64)  # one archive is opened several times in a drill
def _slowly(digest: str, rounds: int, passphrase: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac(digest, passphrase, salt, rounds, _KEY_AND_IV_BYTES)


def is_base64(head: bytes) -> bool:
    """Whether it is one that was written with -a or -base64."""
    return head.startswith(_BASE64_MAGIC)


def without_base64(chunks: Iterable[bytes], *, name: str) -> Iterator[bytes]:
    """The bytes inside, in lines or, as -A writes them, in one.

    :raises DamagedArchiveError: while reading, when it is not all base64, or has no end.
    """
    text = b""
    ended = False
    for chunk in chunks:
        text += chunk.translate(None, b" \t\r\n")
        whole, text = text[: len(text) // 4 * 4], text[len(text) // 4 * 4 :]
        try:
            data = base64.b64decode(whole, validate=True)
        except binascii.Error:
            raise DamagedArchiveError(f"{name} is damaged: its base64 text is altered", hint=TAKE_ANOTHER) from None
        if ended and (whole or text):
            raise DamagedArchiveError(f"{name} is damaged: its base64 text goes on after its end", hint=TAKE_ANOTHER)
        ended = ended or whole.endswith(b"=")
        if data:
            yield data
    if text:
        raise DamagedArchiveError(f"{name} is cut short: its base64 text has no end", hint=_CUT)


def decrypted(
    chunks: Iterable[bytes],
    passphrase: str,
    *,
    name: str,
    is_plain: Callable[[bytes], bool],
    iterations: int | None = None,
) -> tuple[str, Iterator[bytes]]:
    """How its key was made, in openssl's own options, and what it holds. The head is read at once.

    :param is_plain: whether a head looks like what was encrypted: one wrong key in 256 gives a right padding, so
        only the text can tell.
    :raises WrongKeyError: at once, when no way to make a key of the passphrase gives such a head.
    :raises DamagedArchiveError: at once or while reading, when it ends where no such file ends. That its bytes are
        what was written is not proved by reaching the end.
    """
    remaining = iter(chunks)
    head = bytearray()
    for chunk in remaining:
        head += chunk
        if len(head) >= TRIAL_BYTES:
            break
    if len(head) < _HEADER_BYTES + _BLOCK_BYTES:
        raise DamagedArchiveError(f"{name} is cut short: {len(head)} bytes are no encrypted file", hint=_CUT)
    salt = bytes(head[len(_MAGIC) : _HEADER_BYTES])
    del head[:_HEADER_BYTES]
    trial = bytes(head[: len(head) // _BLOCK_BYTES * _BLOCK_BYTES])
    for derivation in derivations(iterations):
        key_and_iv = derivation.derive(passphrase.encode(), salt)
        if is_plain(_without_padding(_cipher(key_and_iv).update(trial))):
            return derivation.label, _opened(_cipher(key_and_iv), head, remaining, name)
    raise WrongKeyError(
        f"the passphrase does not open {name}, by any way that openssl enc makes a key of it",
        hint="give the one it was encrypted with: BACKUP_ENCRYPT_PASSWORD (of rewrap BACKUP_OLD_ENCRYPT_PASSWORD); "
        "if it was made with an uncommon -iter N, "
        "set BACKUP_OPENSSL_ITERATIONS=N",
    )


_CUT = "the disk was full, or the copy was interrupted: compare its size with the original's"


def _cipher(key_and_iv: bytes) -> CipherContext:
    return Cipher(AES256(key_and_iv[:32]), CBC(key_and_iv[32:])).decryptor()


def _without_padding(text: bytes) -> bytes:
    """Of a file that is a head and an end at once."""
    padding = text[-1] if text else 0
    return text[:-padding] if 0 < padding <= _BLOCK_BYTES and text.endswith(bytes([padding]) * padding) else text


def _opened(cipher: CipherContext, rest: bytearray, chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """All but the padding, so the last block is held back."""
    plain_bytes = 0
    more = True
    last = b""
    while more:
        chunk = next(chunks, b"")
        more = bool(chunk)
        rest += chunk
        whole = len(rest) // _BLOCK_BYTES * _BLOCK_BYTES
        text = last + cipher.update(bytes(rest[:whole]))
        del rest[:whole]
        text, last = text[:-_BLOCK_BYTES], text[-_BLOCK_BYTES:]
        if text:
            yield text
            plain_bytes += len(text)
    padding = last[-1]
    if rest or not 0 < padding <= _BLOCK_BYTES or not last.endswith(bytes([padding]) * padding):
        raise DamagedArchiveError(
            f"{name} is damaged: its encrypted data has no end, after {plain_bytes} decrypted bytes", hint=_CUT
        )
    yield last[:-padding]
