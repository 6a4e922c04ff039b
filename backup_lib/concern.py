"""How a concern about a source is put."""

from __future__ import annotations

from collections.abc import Sequence

from backup_lib.manifest import Concern

_SHOWN = 5


def warn(code: str, subject: str, what: str, why: str, hint: str) -> Concern:
    """Something will be lost, or a restore will stumble."""
    return Concern(code=code, severity="warning", object=subject, what=what, why=why, hint=hint)


def note(code: str, subject: str, what: str, why: str, hint: str) -> Concern:
    """Nothing is lost that the archive promises, but who restores it should know."""
    return Concern(code=code, severity="note", object=subject, what=what, why=why, hint=hint)


def some(names: Sequence[str]) -> str:
    """`a, b and 3 more`."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
