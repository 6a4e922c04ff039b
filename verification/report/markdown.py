"""The Markdown view, for a CI step's summary and for comments on a change: worst first, and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from verification.evidence.record import Record
from verification.report import outline
from verification.report.text import (
    UNKNOWN,
    render_bytes,
    render_count,
    render_instant,
    render_seconds,
    render_throughput,
    split_code,
    visible,
)

LIMIT_BYTES = 900_000  # above 1024 KiB GitHub drops the whole summary, not its end
LARGEST_TABLES = 20
MOST_FINDINGS = 1000  # of one matter
LONGEST_TEXT = 300

_PIPE = r"\|"
_MARKS = {"verified": "✅", "failed": "❌", "could_not_verify": "⚠️"}


def render_markdown(record: Record, *, limit_bytes: int = LIMIT_BYTES) -> str:
    """GitHub-flavoured Markdown in which nothing from the record mentions, links or marks anything up.

    :param limit_bytes: of the UTF-8 text; what does not fit is cut at a line, and a note says so. A comment
        on GitHub holds 65,536 characters.
    """
    return _cut(_write_record(record), limit_bytes)


def _write_record(record: Record) -> Iterator[str]:
    yield f"# {_MARKS[record.verdict]} {outline.VERDICTS[record.verdict]}: {_code(record.archive.name)}"
    yield from ("", f"**{_prose(record.summary)}**", "")
    yield f"{', '.join(outline.count_findings(record.findings))}. {outline.count_checks(record.checks)}."
    yield f"Drilled {render_instant(record.started_at)}."
    yield from _write_findings(record)
    yield from _write_objectives(record)
    yield from _write_checks(record)
    yield from _write_controls(record)
    yield from _write_phases(record)
    yield from _write_tables(record)
    yield from _write_facts("What was drilled", outline.list_archive_facts(record))
    yield from _write_facts("Where it was restored", outline.list_sandbox_facts(record))
    yield from _heading("What this drill does not prove")
    yield from (f"- {_prose(sentence)}" for sentence in record.not_proved or ("The record does not say.",))
    yield from _write_facts("Who, when and with what", outline.list_drill_facts(record))
    yield from _heading("Is this the record?")
    yield f"`sha256sum record.json` prints `{outline.digest_record(record)}`, and"
    yield f"{_code(outline.build_check_command(record))} checks it against the chain of all drills."


def _write_findings(record: Record) -> Iterator[str]:
    for group in outline.group_findings(record.findings, record.checks):
        yield from ("", f"## {group.title} ({group.count:,})")
        for matter in group.matters:
            yield from _heading(_prose(matter.title), level=3)
            shown = islice(matter.findings, MOST_FINDINGS)
            yield from _table(
                ("Object", "Expected", "Found"),
                ((_code(f.object), _prose(f.expected), _prose(f.actual)) for f in shown),
            )
            if (hidden := len(matter.findings) - MOST_FINDINGS) > 0:
                yield from ("", f"{hidden:,} more are in `record.json`.")
            if matter.suppressed:
                yield from ("", f"**Suppressed by** {_prose(matter.answered_for)}")
            if matter.why:
                yield from ("", f"**Why it matters:** {_prose(matter.why)}")
            if matter.hint:
                yield from ("", f"**Next step:** {_prose(matter.hint)}")


def _write_objectives(record: Record) -> Iterator[str]:
    yield from _heading("Objectives")
    views = (
        ("Recovery time (RTO)", outline.describe_objective(record.rto)),
        ("Age of the data (RPO)", outline.describe_objective(record.rpo)),
    )
    yield from _table(
        ("Objective", "Set", "Measured", "Margin", "Result"),
        ((label, view.objective, view.measured, view.margin, view.result) for label, view in views),
    )


def _write_checks(record: Record) -> Iterator[str]:
    yield from _heading("Checks")
    yield from _table(
        ("Check", "Result", "Compared", "Faults", "Seconds"),
        (
            (
                _prose(check.title),
                outline.CHECK_STATUSES[check.status],
                render_count(check.compared),
                render_count(check.faults),
                render_seconds(check.seconds),
            )
            for check in record.checks
        ),
        numbers=3,
    )


def _write_controls(record: Record) -> Iterator[str]:
    view = outline.view_controls(record)
    if view is None:
        return
    yield from _heading("Negative control")
    yield from (f"{view.summary}.", "")
    yield from _table(
        ("Copy", "Where", "Result", "By", "Seconds"),
        (
            (
                _prose(control.title),
                _code(control.object),
                outline.CONTROLS[control.status],
                _prose(outline.describe_catch(control)),
                render_seconds(control.seconds),
            )
            for control in view.tried
        ),
        numbers=1,
    )
    for reason, kinds in view.left_out:
        yield from ("", f"Not tried, {_prose(reason)}: {_prose(kinds)}.")


def _write_phases(record: Record) -> Iterator[str]:
    yield from _heading("Time")
    yield from _table(
        ("Phase", "Seconds", "Volume", "Speed"),
        (
            (
                _prose(phase.name) + (" (while others run)" if phase.overlaps else ""),
                render_seconds(phase.seconds),
                render_bytes(phase.bytes),
                render_throughput(phase.bytes, phase.seconds),
            )
            for phase in record.phases
        ),
        numbers=3,
    )
    yield f"| **From start to end** | **{render_seconds(outline.wall_clock_s(record))}** | | |"


def _write_tables(record: Record) -> Iterator[str]:
    choice = outline.choose_tables(record, largest=LARGEST_TABLES)
    yield from _heading("Tables")
    yield f"{choice.summary}."
    if not choice.shown:
        return
    yield ""
    yield from _table(
        ("Table", "Content", "Rows promised", "Rows archived", "Rows restored", "Size", "Seconds"),
        (
            (
                f"**{_code(table.table)}**" if table.table in choice.troubled else _code(table.table),
                outline.CONTENTS[table.content],
                render_count(table.rows_promised),
                render_count(table.rows_archived),
                render_count(table.rows_restored),
                render_bytes(table.size_bytes),
                render_seconds(table.seconds),
            )
            for table in choice.shown
        ),
        numbers=5,
    )
    if choice.hidden:
        yield from ("", f"Not shown: {choice.hidden:,} smaller without a problem; `record.json` has them.")


def _write_facts(title: str, facts: Sequence[outline.Fact]) -> Iterator[str]:
    yield from _heading(title)
    if not facts:
        yield "Nowhere: no sandbox was started."
        return
    yield from _table(
        ("", ""),
        ((_prose(f.label), _code(f.value) if f.exact and f.value != UNKNOWN else _prose(f.value)) for f in facts),
    )


def _heading(title: str, *, level: int = 2) -> Iterator[str]:
    yield from ("", f"{'#' * level} {title}", "")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> Iterator[str]:
    """A table whose last `numbers` columns are right-aligned."""
    words = len(header) - numbers
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * words}{' ---: |' * numbers}"
    for cells in rows:
        # GitHub splits a row into cells before it reads code spans, so this is right inside one as well.
        yield f"| {' | '.join(cell.replace('|', _PIPE) for cell in cells)} |"


def _code(text: str) -> str:
    """A code span: the one place where GitHub neither links, mentions nor marks up."""
    shown = visible(text, limit=LONGEST_TEXT) or " "
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    # Keeps a backtick at either end out of the fence. One space on both sides is dropped when shown.
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _prose(text: str) -> str:
    """A sentence with its commands as code and everything else literal; `—` where there is none."""
    parts = split_code(visible(text, limit=LONGEST_TEXT))
    return "".join(_code(part) if is_code else _literal(part) for part, is_code in parts) or UNKNOWN


def _literal(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]#~<>&$])", r"\\\1", text)
    text = re.sub(r"^(\s*\d*)([-+.)])(?=\s|$)", r"\1\\\2", text)  # what starts a list, in an item of a list
    # GitHub looks for mentions, issues, addresses and emoji when the escapes are gone already; an
    # invisible character between their parts is what keeps them apart.
    return re.sub(r"(@|#|:(?=//)|\bwww(?=\.)|(?<!\d):(?=[\w+-]+:))", r"\1&#8203;", text, flags=re.IGNORECASE)


def _cut(lines: Iterable[str], limit_bytes: int) -> str:
    note = "\n\n*Cut here to fit; the whole record is in `record.json` and `report.html`.*\n"
    room = limit_bytes - len(note.encode())
    kept: list[str] = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            return "\n".join(kept) + note
        kept.append(line)
    return "\n".join(kept) + "\n"
