"""The HTML view: one file that needs no network, no script and no other file, to read, print and keep."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from verification.evidence.record import Record
from verification.report import outline, text

if TYPE_CHECKING:
    from jinja2 import Environment

LARGEST_TABLES = 200


def render_html(record: Record) -> str:
    """A whole HTML document. Every finding is in it; of the sound tables, the largest."""
    fault_count, other_count = outline.count_findings(record.findings)
    template = _environment().get_template("report.html.j2")
    style = _style()
    return template.render(
        record=record,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        groups=outline.group_findings(record.findings, record.checks),
        tables=outline.choose_tables(record, largest=LARGEST_TABLES),
        bars=outline.lay_out_phases(record),
        begins_are_guessed=outline.begins_are_guessed(record),
        objectives=[
            ("Recovery time (RTO)", outline.describe_objective(record.rto)),
            ("Age of the data (RPO)", outline.describe_objective(record.rpo)),
        ],
        archive_facts=outline.list_archive_facts(record),
        sandbox_facts=outline.list_sandbox_facts(record),
        drill_facts=outline.list_drill_facts(record),
        controls=outline.view_controls(record),
        control_statuses=outline.CONTROLS,
        describe_catch=outline.describe_catch,
        check_count=outline.count_checks(record.checks),
        fault_count=fault_count,
        other_count=other_count,
        compared=sum(check.compared for check in record.checks),
        wall_clock_s=outline.wall_clock_s(record),
        digest=outline.digest_record(record),
        check_command=outline.build_check_command(record),
        verdict_word=outline.VERDICTS[record.verdict],
        check_statuses=outline.CHECK_STATUSES,
        contents=outline.CONTENTS,
    )


@cache
def _environment() -> Environment:
    # A tenth of a second to import, which a drill whose record nobody views as HTML need not pay.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("verification.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Here, not as a filter: a name that a template forgot to make visible would otherwise slip through.
        finalize=lambda value: text.visible(value) if type(value) is str else value,
    )
    environment.filters.update(
        quantity=text.render_quantity,
        count=text.render_count,
        bytes=text.render_bytes,
        seconds=text.render_seconds,
        duration=text.render_duration,
        instant=text.render_instant,
        code_parts=text.split_code,
    )
    environment.globals.update(throughput=text.render_throughput, rows_differ=outline.rows_differ)
    return environment


def _style() -> str:
    return files("verification.report").joinpath("templates", "report.css").read_text("utf-8")
