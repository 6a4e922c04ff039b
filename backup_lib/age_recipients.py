"""age files for recipients: whoever writes them needs no secret, and cannot read them again. By pyrage, as streams.

pyrage pulls from one file object and pushes into another until it is done. So it runs in a thread of its own, and
a pipe joins it with who pushes here, or pulls.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyrage

from backup_lib.errors import TAKE_ANOTHER, DamagedArchiveError, UsageError, WrongKeyError

_CHUNK_BYTES = 1 << 20
_SECRET = "AGE-SECRET-KEY-"  # noqa: S105 - what one begins with

Recipient = Any  # pyrage has no types
Identity = Any


def parse_recipients(texts: Sequence[str]) -> list[Recipient]:
    """Public keys: `age1…`, or a line of an SSH public key file.

    :raises UsageError: when one of them is none. A secret key is never quoted.
    """
    return [_parse_recipient(text.strip()) for text in texts]


def _parse_recipient(text: str) -> Recipient:
    if text.upper().startswith(_SECRET):
        raise UsageError(
            "a secret key was given as a recipient",
            hint="give its public key, age1…: age-keygen -y FILE prints it",
        )
    kinds = (pyrage.ssh,) if text.startswith("ssh-") else (pyrage.x25519, pyrage.tag, pyrage.tagpq)
    for kind in kinds:
        with suppress(pyrage.RecipientError, ValueError):
            return kind.Recipient.from_str(text)
    raise UsageError(
        f"{text!r} is no age recipient", hint="write age1… as age-keygen prints it, or an ssh-ed25519 or ssh-rsa key"
    )


def read_recipients(path: Path) -> tuple[str, ...]:
    """The recipients of a file, one a line; `#` begins a comment.

    :raises UsageError: when it cannot be read.
    """
    lines = (line.strip() for line in _read(path, "recipients").decode(errors="replace").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def read_identities(path: Path) -> list[Identity]:
    """The secret keys of a file that `age-keygen` wrote, or of an SSH private key without a passphrase.

    :raises UsageError: when it cannot be read, or holds none.
    """
    data = _read(path, "identity")
    try:
        if data.startswith(b"-----BEGIN") and b"PRIVATE KEY-----" in data:
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode(errors="replace").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line.upper().startswith(_SECRET)]
    except (pyrage.IdentityError, ValueError):
        found = []
    if not found:
        raise UsageError(
            f"{path} holds no age identity that can be read",
            hint="name the file that age-keygen wrote, or an SSH private key without a passphrase",
        )
    return found


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(
            f"the {what} file {path} cannot be read: {exc.strerror}",
            hint="give the file to the user this runs as, or name another one",
        ) from exc


@contextmanager
def encrypting(sink: Callable[[bytes], object], recipients: Sequence[Recipient]) -> Iterator[Callable[[bytes], object]]:
    """Give what is to be encrypted to the function; the end is written when the context ends well.

    `sink` is called from another thread. What it raises is raised here.
    """
    inner, outer = os.pipe()
    with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-age") as beside:
        ended = beside.submit(_encrypt, inner, _Output(sink), recipients)
        try:
            with open(outer, "wb") as pipe:  # noqa: PTH123 - a descriptor
                yield pipe.write
        except BrokenPipeError:
            ended.result()  # it has stopped reading: what it raised says why
            raise
        ended.result()


def _encrypt(inner: int, output: _Output, recipients: Sequence[Recipient]) -> None:
    with open(inner, "rb", buffering=0) as source:
        try:
            pyrage.encrypt_io(source, output, recipients)
        except (pyrage.EncryptError, OSError):
            if output.error is None:
                raise
        # The last bytes are written when pyrage drops its buffer, which passes over an error in silence.
        if output.error is not None:
            raise output.error


def decrypted(chunks: Iterable[bytes], identities: Sequence[Identity], *, name: str) -> Iterator[bytes]:
    """What a file holds that was encrypted for one of the identities.

    `chunks` is read from another thread.
    :raises WrongKeyError: when it is for none of them.
    :raises DamagedArchiveError: while reading, when it is cut short or altered. What was handed out before is
        authentic.
    """
    inner, outer = os.pipe()
    source = _Input(chunks)
    plain_bytes = 0
    with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-age") as beside:
        ended = beside.submit(_decrypt, source, outer, identities)
        with open(inner, "rb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor
            while chunk := pipe.read(_CHUNK_BYTES):
                yield chunk
                plain_bytes += len(chunk)
        try:
            ended.result()
        except pyrage.DecryptError as exc:
            if "No matching keys" in str(exc):
                raise WrongKeyError(
                    f"{name} is encrypted for other recipients than the identities given",
                    hint="name the file with its secret key: --identity FILE or BACKUP_IDENTITY_FILE",
                ) from exc
            raise DamagedArchiveError(f"{name} is damaged: {str(exc).lower()}", hint=TAKE_ANOTHER) from exc
        except _Unauthentic as exc:
            raise DamagedArchiveError(
                f"{name} is damaged: its encrypted data is altered or cut short, after {plain_bytes} decrypted bytes",
                hint=TAKE_ANOTHER,
            ) from exc


class _Unauthentic(Exception):  # noqa: N818 - what pyrage says by an OSError, as a broken pipe does too
    pass


def _decrypt(source: _Input, outer: int, identities: Sequence[Identity]) -> None:
    with open(outer, "wb", buffering=0) as pipe:
        output = _Output(_writing_all(pipe))
        try:
            pyrage.decrypt_io(source, output, identities)
        except OSError as exc:
            if source.error is None and output.error is None:
                raise _Unauthentic(str(exc)) from exc
        except pyrage.DecryptError:
            if source.error is None:
                raise
        if source.error is not None:
            raise source.error
        # An error of the output means that nobody reads any more, and nobody asks for the result either.


def _writing_all(pipe: IO[bytes]) -> Callable[[bytes], object]:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) :]

    return write


class _Input:
    """Chunks as the file object that pyrage reads; it remembers what they raised, which pyrage does not."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.error: Exception | None = None

    def read(self, size_bytes: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except Exception as exc:
            self.error = exc
            raise
        piece, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        return bytes(piece)


class _Output:
    """A function as the file object that pyrage writes to; it remembers what the function raised."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self.error: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._sink(data)
        except Exception as exc:
            self.error = exc
            raise
        return len(data)

    def flush(self) -> None:
        pass
