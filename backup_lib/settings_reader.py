"""From a file and variables to settings: every problem is found, and located, before any of them is used."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from backup_lib.errors import UsageError
from backup_lib.setting_types import Secret
from backup_lib.settings_text import Key, line_of

Section = TypeVar("Section")
SECRET_WAYS: Mapping[str, Literal["value", "variable", "file"]] = {"": "value", "_env": "variable", "_file": "file"}
_WANTED = {
    bool: "true or false is wanted",
    int: "a whole number is wanted",
    Decimal: "a number is wanted",
    float: "a number is wanted",
    str: "a text is wanted",
    date: "a day is wanted, such as 2027-01-31",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: `pgdrill.toml:12: verify.leve is no setting; did you mean level?`."""

    where: str
    key: str
    message: str
    allowed: tuple[str, ...] = ()
    nearest: str | None = None

    def __str__(self) -> str:
        near = f"; did you mean {self.nearest}?" if self.nearest else ""
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return f"{self.where}: {self.key}{self.message}{near}{allowed}"


class SettingsError(UsageError):
    """The configuration cannot be used; `problems` has all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem], hint: str = "") -> None:
        super().__init__("\n".join(map(str, problems)), hint or "mend it, then: pgdrill config check")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Told:
    """A value that a variable sets."""

    text: str
    origin: str  # `environment BACKUP_DIR`


@dataclass(slots=True, kw_only=True)
class Reader:
    """Fills sections; what it cannot fill is in `problems`, and where each value came from in `origins`."""

    file: str  # as it is named in messages
    folder: Path  # that relative paths are meant from
    lines: Mapping[Key, int]
    variable: Callable[[str], Told | None]
    problems: list[Problem]
    origins: dict[Key, str]

    def section(self, cls: type[Section], table: object, key: Key = ()) -> Section | None:
        """The section that a table of the file and the variables say; None when there are problems."""
        if not isinstance(table, dict):
            self._report(key, " is a table of settings, and no single value")
            return None
        before = len(self.problems)
        hints = get_type_hints(cls, include_extras=True)
        values: dict[str, Any] = {}
        known: list[str] = []
        for field in fields(cls):  # type: ignore[arg-type]
            name = field.metadata.get("key") or field.name
            known += _spellings(name, hints[field.name])
            found = self._field(field, hints[field.name], table, (*key, name))
            if found is not MISSING:
                values[field.name] = found
        self._unknown(table, known, key)
        if len(self.problems) > before:
            return None
        try:
            return cls(**values)
        except ValueError as exc:
            self._report(key, f": {exc}" if key else str(exc))
            return None

    def _field(self, field: Field[Any], hint: Any, table: Mapping[str, Any], key: Key) -> Any:
        """The field's value; MISSING for its default, or where a problem was reported."""
        env = field.metadata.get("env")
        if env and (told := self.variable(env)) is not None:
            self.origins[key] = told.origin
            if _is_secret(hint):
                return Secret(kind="value", text=told.text)
            return self._value(told.text, hint, field, key, told.origin)
        if _is_secret(hint):
            return self._secret(table, key)
        name = str(key[-1])
        if name not in table:
            if field.default is MISSING and field.default_factory is MISSING:
                self._report(key[:-1], f" lacks {name}")
            elif field.metadata:
                self.origins[key] = "default"
            else:  # a section that is not there may still be told by variables
                return self._nested({}, hint, key)
            return MISSING
        value = table[name]
        if not field.metadata:
            return self._nested(value, hint, key)
        self.origins[key] = self._where(key)
        return self._value(value, hint, field, key, None)

    def _nested(self, value: object, hint: Any, key: Key) -> Any:
        """A table, a table of tables by name, or an array of tables."""
        if is_dataclass(hint):
            return _or_missing(self.section(hint, value, key))  # type: ignore[arg-type]
        inner = get_args(hint)
        if get_origin(hint) is tuple:
            if not isinstance(value, list):
                if value:
                    self._report(key, f" is given as [[{key[-1]}]], once for each")
                return MISSING
            found = [self.section(inner[0], table, (*key, place)) for place, table in enumerate(value)]
            return tuple(item for item in found if item is not None)
        if not isinstance(value, dict):
            self._report(key, f" is given as [{key[-1]}.NAME], once for each")
            return MISSING
        return {
            name: item
            for name, table in value.items()
            if (item := self.section(inner[1], table, (*key, name))) is not None
        }

    def _value(self, value: object, hint: Any, field: Field[Any], key: Key, where: str | None) -> Any:
        try:
            if parse := field.metadata.get("parse"):
                return parse(value)
            converted = _convert(value, hint, is_text=where is not None)
        except ValueError as exc:
            self._report(key, f" is {_quoted(value)}: {exc}", where=where)
            return MISSING
        except _NotAllowedError as exc:
            self._report(key, f" is {_quoted(exc.value)}", where=where, allowed=exc.allowed, near=str(exc.value))
            return MISSING
        return self._placed(converted) if field.metadata.get("path") and where is None else converted

    def _placed(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._placed, value))
        return value if "://" in value or self.folder == Path() else str(self.folder / Path(value).expanduser())

    def _secret(self, table: Mapping[str, Any], key: Key) -> Any:
        given = [name for name in _spellings(str(key[-1]), Secret) if name in table]
        if not given:
            self.origins[key] = "default"
            return MISSING
        name = (*key[:-1], given[0])
        value = table[given[0]]
        if len(given) > 1:
            self._report(name, f" is given besides {given[1]}: keep one")
        elif not isinstance(value, str) or not value.strip():
            self._report(name, ": a text is wanted")
        else:
            self.origins[key] = self._where(name)
            return Secret(kind=SECRET_WAYS[given[0].removeprefix(str(key[-1]))], text=value)
        return MISSING

    def _unknown(self, table: Mapping[str, Any], known: Sequence[str], key: Key) -> None:
        for name in table:
            if name not in known:
                self._report((*key, name), " is no setting", allowed=known, near=name)

    def _report(
        self, key: Key, message: str, *, where: str | None = None, allowed: Sequence[str] = (), near: str = ""
    ) -> None:
        nearest = next(iter(get_close_matches(near.lower(), allowed, n=1)), None)
        problem = Problem(
            where=where or self._where(key),
            key=dotted(key),
            message=message,
            allowed=tuple(allowed),
            nearest=nearest,
        )
        self.problems.append(problem)

    def _where(self, key: Key) -> str:
        line = line_of(self.lines, key)
        return self.file if line is None else f"{self.file}:{line}"


class _NotAllowedError(Exception):
    def __init__(self, value: object, allowed: tuple[str, ...]) -> None:
        super().__init__(value)
        self.value = value
        self.allowed = allowed


def dotted(key: Key) -> str:
    """`databases.shop.rto`, `checks[2].sql`; counted from 1, as people do."""
    text = ""
    for part in key:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _or_missing(value: Any) -> Any:
    return MISSING if value is None else value


def _spellings(name: str, hint: Any) -> list[str]:
    return [name + way for way in SECRET_WAYS] if _is_secret(hint) else [name]


def _is_secret(hint: Any) -> bool:
    return hint is Secret or Secret in get_args(hint)


def _convert(value: object, hint: Any, *, is_text: bool) -> Any:
    """The value as the field's type has it. Of a variable's text, numbers and truth are read."""
    plain = _without_none(hint)
    if get_origin(plain) is tuple:
        if is_text:
            value = [part for part in str(value).replace(",", " ").split() if part]
        if not isinstance(value, list):
            value = [value]  # one of them needs no brackets
        return tuple(_convert(item, get_args(plain)[0], is_text=is_text) for item in value)
    if get_origin(plain) is Literal:
        if value not in get_args(plain):
            raise _NotAllowedError(value, get_args(plain))
        return value
    try:
        return msgspec.convert(value, plain, strict=not is_text)
    except msgspec.ValidationError as exc:
        base = get_args(plain)[0] if hasattr(plain, "__metadata__") else plain
        bound = str(exc).partition(">=")[2]
        raise ValueError(_WANTED[base] + (f", from {bound.strip()}" if bound else "")) from exc


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not types.NoneType)
    return hint


def _quoted(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    shown = f'"{text}"' if isinstance(value, str) else text
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
