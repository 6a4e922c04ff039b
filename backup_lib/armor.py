"""age files as text (`age --armor`), which mail and chat let pass."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

from backup_lib.errors import DamagedArchiveError

_BEGIN, _END = b"-----BEGIN AGE ENCRYPTED FILE-----", b"-----END AGE ENCRYPTED FILE-----"
_LINE_BYTES = 64


def is_armored(head: bytes) -> bool:
    return head.startswith(_BEGIN)


def without_armor(chunks: Iterable[bytes], *, name: str) -> Iterator[bytes]:
    """The bytes inside.

    :raises DamagedArchiveError: while reading, when a line is none of base64, or there is no end.
    """
    damaged = DamagedArchiveError(
        f"{name} is damaged: its armor is altered or cut short", hint="take another copy of it, byte for byte"
    )
    ended = short = False
    for lines in _whole_lines(chunks):
        data = b""
        for line in lines:
            if line == _END or (ended and not line):
                ended = True
            elif ended or short:
                raise damaged
            elif line != _BEGIN:
                piece = _decode(line)
                if not piece:
                    raise damaged
                data += piece
                short = len(line) < _LINE_BYTES  # only the last one is
        if data:
            yield data
    if not ended:
        raise damaged


def _decode(line: bytes) -> bytes | None:
    try:
        data = base64.b64decode(line, validate=True)
    except binascii.Error:
        return None
    return data if len(line) <= _LINE_BYTES and base64.b64encode(data) == line else None


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line.rstrip(b"\r") for line in lines]
    yield [rest.rstrip(b"\r")] if rest else []
