"""The terminal view: what was checked, how long it took, what was found, and the verdict last, where eyes rest."""

from __future__ import annotations

from collections.abc import Iterator

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from verification.evidence.record import CheckStatus, Record, Verdict
from verification.finding import Status
from verification.report import outline
from verification.report.text import (
    render_count,
    render_duration,
    render_quantity,
    render_seconds,
    render_throughput,
    split_code,
    visible,
)

MOST_FINDINGS = 10  # of one matter
MOST_MATTERS = 25  # of one group
LONGEST_TEXT = 300

_VERDICT_STYLES: dict[Verdict, str] = {
    "verified": "bold green",
    "failed": "bold red",
    "could_not_verify": "bold yellow",
}
_CHECK_STYLES: dict[CheckStatus, str] = {
    "passed": "green",
    "failed": "bold red",
    "could_not_verify": "yellow",
    "not_run": "yellow",
    "suppressed": "yellow",
}
_FINDING_STYLES: dict[Status, str] = {
    "fault": "bold red",
    "gap": "bold yellow",
    "suppressed": "bold yellow",
    "note": "bold",
}


def render_terminal(record: Record, *, width: int) -> RenderableType:
    """For `Console.print`; nothing from the record is read as markup, and colour never says anything alone.

    :param width: columns of the terminal. Under 60 the timeline is left out; its seconds stay.
    """
    parts: list[RenderableType] = [_name_archive(record)]
    parts += [_tabulate_checks(record)] if record.checks else []
    parts += _tabulate_controls(record)
    parts += [_tabulate_phases(record, width=width)] if record.phases else []
    parts += [Padding(Text(outline.choose_tables(record, largest=0).summary), (0, 0, 1, 0))]
    parts += _list_findings(record)
    parts += [_state_objectives(record), _state_verdict(record)]
    return Group(*parts)


def _name_archive(record: Record) -> RenderableType:
    server = f" in PostgreSQL {record.sandbox.server_version}" if record.sandbox else ""
    kind = f" ({record.sandbox.kind})" if record.sandbox else ""
    return Text.assemble(("Drill of ", "bold"), (_shown(record.archive.name), "bold"), _shown(server + kind), "\n")


def _tabulate_checks(record: Record) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Check", ratio=1, overflow="fold")
    table.add_column("Result", no_wrap=True)
    for heading in ("Compared", "Faults", "Seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for check in record.checks:
        table.add_row(
            Text(_shown(check.title)),
            Text(outline.CHECK_STATUSES[check.status], _CHECK_STYLES[check.status]),
            render_count(check.compared),
            render_count(check.faults),
            render_seconds(check.seconds),
        )
    return Padding(table, (0, 0, 1, 0))


def _tabulate_controls(record: Record) -> Iterator[RenderableType]:
    view = outline.view_controls(record)
    if view is None:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Negative control", overflow="fold")
    table.add_column("Where", ratio=1, overflow="fold")
    table.add_column("Result", overflow="fold")
    table.add_column("Seconds", justify="right", no_wrap=True)
    for control in view.tried:
        good = control.status in ("caught", "clean")
        by = f" by {outline.describe_catch(control)}" if control.check else ""
        table.add_row(
            Text(_shown(control.title)),
            Text(_shown(control.object)),
            Text(_shown(outline.CONTROLS[control.status] + by), "green" if good else "bold red"),
            render_seconds(control.seconds),
        )
    yield table
    yield Padding(Text(view.summary), (0, 0, 1, 0))


def _tabulate_phases(record: Record, *, width: int) -> RenderableType:
    bars = outline.lay_out_phases(record)
    bar_width = min(40, width - 52)
    drawn = bar_width >= 8
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Phase", overflow="fold")
    if drawn:
        table.add_column("When", width=bar_width)
    table.add_column("Seconds", justify="right", no_wrap=True)
    table.add_column("Speed", justify="right", no_wrap=True)
    for bar in bars:
        row: list[RenderableType] = [Text(_shown(bar.phase.name) + (" *" if bar.phase.overlaps else ""))]
        if drawn:
            # Half a column, so that the shortest phase is still seen.
            begin = min(bar.begin, 1 - 0.5 / bar_width)
            row.append(Bar(1, begin, max(bar.begin + bar.length, begin + 0.5 / bar_width), width=bar_width))
        seconds = render_seconds(bar.phase.seconds)
        table.add_row(*row, seconds, render_throughput(bar.phase.bytes, bar.phase.seconds))
    total: list[RenderableType] = [Text("start to end", "bold"), *([""] if drawn else [])]
    table.add_row(*total, Text(render_seconds(outline.wall_clock_s(record)), "bold"), "")
    guessed = "; when it began is not recorded" if outline.begins_are_guessed(record) else ""
    said = [Text(f"* ran while others did{guessed}", "dim")]
    return Padding(Group(table, *(said if any(bar.phase.overlaps for bar in bars) else [])), (0, 0, 1, 0))


def _list_findings(record: Record) -> Iterator[RenderableType]:
    for group in outline.group_findings(record.findings, record.checks):
        yield Text(f"{group.title} ({group.count:,})", _FINDING_STYLES[group.status])
        for matter in group.matters[:MOST_MATTERS]:
            yield Padding(_explain(matter), (0, 0, 1, 2))
        if (hidden := len(group.matters) - MOST_MATTERS) > 0:
            yield Padding(Text(f"… and {hidden:,} more kinds in record.json", "dim"), (0, 0, 1, 2))


def _explain(matter: outline.Matter) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for finding in matter.findings[:MOST_FINDINGS]:
        table.add_row("in", Text(_shown(finding.object), "bold"))
        if finding.expected:
            table.add_row("expected", Text(_shown(finding.expected)))
        if finding.actual:
            table.add_row("found", Text(_shown(finding.actual)))
    if (hidden := len(matter.findings) - MOST_FINDINGS) > 0:
        table.add_row("", Text(f"… and {render_quantity(hidden, 'more object')} in record.json", "dim"))
    if matter.suppressed:
        table.add_row("suppressed", Text(_shown(f"by {matter.answered_for}")))
    if matter.why:
        table.add_row("why", _sentence(matter.why))
    if matter.hint:
        table.add_row("next", _sentence(matter.hint))
    return Group(Text(_shown(matter.title)), table)


def _state_objectives(record: Record) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for label, objective in (("RTO", record.rto), ("RPO", record.rpo)):
        view = outline.describe_objective(objective)
        if objective.objective_s is None:
            words = f"{view.measured}; {view.objective}"
        elif objective.measured_s is None:
            words = f"{view.measured}; objective {view.objective}"
        else:
            words = f"{view.measured}; objective {view.objective} {view.result}, {view.margin}"
        table.add_row(Text(label, "dim"), Text(words, "bold red" if objective.met is False else ""))
    return Padding(table, (0, 0, 1, 0))


def _state_verdict(record: Record) -> RenderableType:
    word = outline.VERDICTS[record.verdict].upper()
    took = f" ({render_duration(outline.wall_clock_s(record))})"
    return Text.assemble((word, _VERDICT_STYLES[record.verdict]), "  ", _sentence(record.summary), took)


def _sentence(text: str) -> Text:
    """Commands stay between backticks: without colour, those are what tells them from words."""
    parts = split_code(_shown(text))
    return Text.assemble(*((f"`{part}`", "bold") if is_code else part for part, is_code in parts))


def _shown(text: str) -> str:
    return visible(text, limit=LONGEST_TEXT)
