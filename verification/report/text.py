"""A record's values as text: units for people, and names that cannot deceive the reader.

Names of tables, archives and roles come from whoever made the archive. Left as they are, a right-to-left mark
or a newline in one would change what the rest of a report seems to say.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

from backup_lib.quantity import quantity

UNKNOWN = "—"

_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# Unassigned (Cn) is left out: a name in a script newer than Python's tables is no deceit.
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def visible(text: str, *, limit: int = 1000) -> str:
    """`text` on one line, with control, direction and other invisible characters spelled out.

    :param limit: characters kept; a longer text ends in how long it was, so that a cut is never silent.
    """
    kept = "".join(map(_spell, text[:limit]))
    return kept if len(text) <= limit else f"{kept}… ({len(text):,} characters in all)"


def _spell(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a sentence and whether each is code: what stands between two backticks is a command."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner is only a backtick
        parts[-2:] = ["`".join(parts[-2:])]
    for number, part in enumerate(parts):
        if part:
            yield part, number % 2 == 1


def render_count(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def render_quantity(count: int, noun: str, plural: str = "") -> str:
    """`1 fault`, `2,000 faults`."""
    return quantity(count, noun, plural)


def render_bytes(size_bytes: float | None) -> str:
    """In the largest binary unit that leaves a whole part: `512 B`, `3.4 MiB`, `340 GiB`."""
    if size_bytes is None:
        return UNKNOWN
    size, units = float(size_bytes), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1023.5 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:,.1f} {units[0]}" if size < 99.95 and units[0] != "B" else f"{size:,.0f} {units[0]}"


def render_throughput(size_bytes: int | None, seconds: float) -> str:
    return UNKNOWN if size_bytes is None or seconds <= 0 else f"{render_bytes(size_bytes / seconds)}/s"


def render_seconds(seconds: float | None) -> str:
    """For a column of times: always seconds, always two decimals, so that the eye can compare them."""
    return UNKNOWN if seconds is None else f"{seconds:,.2f}"


def render_duration(seconds: float | None) -> str:
    """For a sentence: `420 ms`, `3.4 s`, `12 min 5 s`, `3 h 12 min`, `2 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0:
        return f"-{render_duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 3599.5:
        return _two_units(round(seconds), 60, "min", "s")
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return _two_units(minutes, 60, "h", "min")
    return _two_units(round(minutes / 60), 24, "d", "h")


def _two_units(amount: int, ratio: int, large: str, small: str) -> str:
    whole, rest = divmod(amount, ratio)
    return f"{whole:,} {large} {rest} {small}" if rest else f"{whole:,} {large}"


def render_instant(instant: datetime | None) -> str:
    """To the second, in UTC, and it says so."""
    if instant is None:
        return UNKNOWN
    # A record's times are UTC by contract; `astimezone` would take one without a zone for local time.
    utc = instant.astimezone(UTC) if instant.tzinfo else instant
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC"
