"""Values of settings that TOML and the environment have no type for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from backup_lib.errors import UsageError

_UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_NAME = re.compile(r"[\w.:-]+(?: [\w.:-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Something nobody else may see, or where it is to be had. Its repr never holds it."""

    kind: Literal["value", "variable", "file"]
    text: str = field(repr=False)  # the secret itself, the variable's name, or the file's

    def read(self, env: Mapping[str, str]) -> str:
        """:raises UsageError: when its variable is not set, or its file cannot be read or is empty."""
        if self.kind == "value":
            return self.text
        if self.kind == "variable":
            found, where = env.get(self.text, ""), f"the variable {self.text}"
        else:
            found, where = _read(Path(self.text).expanduser()), self.text
        if not found:
            raise UsageError(
                f"{where}, which the configuration names, is empty or not set", hint="set it, or name another"
            )
        return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"{path}, which the configuration names, cannot be read: {type(exc).__name__}",
            hint="give the file to the user this runs as, or name another",
        ) from exc


def parse_duration_s(value: object) -> float:
    """`90`, `"90s"`, `"15m"`, `"1h 30m"`, `"26h"`, `"2d"`, in seconds."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value > 0:
        return float(value)
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text) and float(text) > 0:
        return float(text)
    if isinstance(value, str) and _DURATION.fullmatch(text):
        parts = _PART.findall(text)
        if all(unit in _UNITS_S for _, unit in parts) and (total := sum(float(n) * _UNITS_S[u] for n, u in parts)) > 0:
            return total
    raise ValueError("a duration is wanted, such as 90s, 15m, 26h or 2d, or a number of seconds")


def parse_compression(value: object) -> str:
    """`true` and `false` as well: the guide's own BACKUP_COMPRESS is one of them."""
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return "gzip"
    if text in ("false", "no", "off", "0"):
        return "none"
    if text not in ("gzip", "zstd", "none"):
        raise ValueError("gzip, zstd, none, true or false is wanted")
    return text


def parse_number(value: object) -> Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite():
        return Decimal(value)
    raise ValueError("a number is wanted")


def parse_expected(value: object) -> str | bool | Decimal:
    """What a query's value is compared with; a number as it is written, so that 0.1 is 0.1."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | Decimal):
        return parse_number(value)
    raise ValueError("a number, a text, true or false is wanted; write a date as a text")


def parse_name(value: object) -> str:
    """A name that reads well as a test's id."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("a name of letters, digits, spaces, and . : - _ is wanted")
    return value


def parse_cron_text(value: object) -> str:
    from backup_lib.cron import parse_cron

    return parse_cron(value)


def parse_zone_text(value: object) -> str:
    from backup_lib.cron import parse_zone

    return parse_zone(value)


def parse_cron_or_never(value: object) -> str | None:
    return None if str(value).strip().lower() == "never" else parse_cron_text(value)


def parse_truth(value: object) -> bool:
    """`true` and `false`, and what else people write for them in a variable."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if isinstance(value, str) and text in ("true", "yes", "on", "1", "t", "y"):
        return True
    if isinstance(value, str) and text in ("false", "no", "off", "0", "f", "n"):
        return False
    raise ValueError("true or false is wanted")


def parse_recipients(value: object) -> tuple[str, ...]:
    """A list of public keys; of a variable's text or file, those between commas and line ends, without comments."""
    if isinstance(value, str):
        lines = [line for line in value.splitlines() if not line.lstrip().startswith("#")]
        value = [part.strip() for line in lines for part in line.split(",")]
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError("a list of public keys is wanted, such as age1…")
    return tuple(filter(None, value))
