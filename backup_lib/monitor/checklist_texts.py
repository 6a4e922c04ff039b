"""The checklists in words, English or Spanish. Keys and figures are the same in both; JSON holds those alone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Literal

from backup_lib.monitor.checklist import Checklist
from backup_lib.monitor.checklist_items import Seen
from backup_lib.monitor.problem import Value

Language = Literal["en", "es"]
_UNITS = {"days": 86400, "hours": 3600, "minutes": 60}
_SIGNED = ("prepared", "reviewed", "approved")
_COMMAND = re.compile(r"pgdrill [^;]+|timedatectl")


@cache
def texts(language: Language) -> Mapping[str, Mapping[str, str]]:
    """By section and key."""
    return tomllib.loads(files(__package__).joinpath(f"checklist_{language}.toml").read_text(encoding="utf-8"))


def render_text(checklist: Checklist, language: Language) -> str:
    """For a terminal."""
    lines = [f"{texts(language)['titles'][checklist.period]}, {_at(checklist.at)}", ""]
    for item in checklist.items:
        mark = "x" if item.state == "proved" else " "
        lines.append(f"[{mark}] {texts(language)['titles'][item.key]}: {texts(language)['states'][item.state]}")
        for seen in item.seen:
            lines.append(f"      {render_seen(seen, language)}")
            if after := _next(seen, language):
                lines.append(f"        {texts(language)['words']['next']}: {after}")
    return "\n".join(lines)


def render_markdown(checklist: Checklist, language: Language) -> str:
    """For the folder of reports, with lines to sign."""
    lines = [f"# {texts(language)['titles'][checklist.period]}", "", _at(checklist.at), ""]
    for item in checklist.items:
        mark = "x" if item.state == "proved" else " "
        lines.append(f"- [{mark}] **{texts(language)['titles'][item.key]}**: {texts(language)['states'][item.state]}")
        for seen in item.seen:
            after = _next(seen, language)
            lines.append(f"  - {_plain(render_seen(seen, language))}" + (f" `{after}`" if after else ""))
    lines += [f"\n{texts(language)['words'][who]}: ____________________" for who in _SIGNED]
    return "\n".join(lines) + "\n"


def render_seen(seen: Seen, language: Language) -> str:
    if seen.key == "problem" and language == "en":
        return str(seen.values["message"])
    told = {name: _figure(name, value, language) for name, value in seen.values.items()}
    text = texts(language)["problems"][told["text"]] if seen.key == "problem" else texts(language)["found"][seen.key]
    return text.format(**told)


def _next(seen: Seen, language: Language) -> str:
    """In Spanish the commands alone, which are the same in all languages."""
    if language == "en" or not seen.next:
        return seen.next
    return "; ".join(_COMMAND.findall(seen.next))


def _figure(name: str, value: Value, language: Language) -> str:
    """By the suffix of its name, which is its unit."""
    if value is None:
        return "—"
    if isinstance(value, datetime):
        return _at(value)
    if isinstance(value, str):
        return value[:16] + "…" if name in ("sha256", "promised") else value
    if name.endswith("_bytes"):
        return _size(value, language)
    if name.endswith("_s"):
        return _span(value, language)
    return _number(f"{value:,.0f}", language)


def _size(value: float, language: Language) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return _number(f"{value:.0f}" if unit == "B" else f"{value:.1f}", language) + f" {unit}"


def _span(seconds: float, language: Language) -> str:
    for unit, unit_s in _UNITS.items():
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:.0f} {texts(language)['words'][unit]}"
    return _number(f"{seconds:.1f}", language) + " s"


def _number(text: str, language: Language) -> str:
    return text.translate(str.maketrans(",.", ".,")) if language == "es" else text


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _plain(text: str) -> str:
    """Names are other people's choice: what Markdown would obey is escaped, and a line stays one."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", text.replace("\n", " "))
