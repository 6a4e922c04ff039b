from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from verification.evidence.record import Record, read_record
from verification.report.markdown import render_markdown

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


@pytest.mark.parametrize("name", ["verified", "failed", "could_not_verify", "hostile"])
def test_markdown_is_as_it_was_when_last_read_by_a_person(name: str) -> None:
    golden = GOLDEN / f"{name}.md"
    rendered = render_markdown(read_record(GOLDEN / f"{name}.json"))
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered, "utf-8")
    assert rendered == golden.read_text("utf-8")


@pytest.fixture
def hostile() -> Record:
    return read_record(GOLDEN / "hostile.json")


def test_hostile_names_mark_nothing_up(hostile: Record) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(hostile))
    inline = [child.type for token in tokens for child in token.children or ()]
    assert not {"html_block", "fence", "code_block", "blockquote_open"} & {token.type for token in tokens}
    # Bold is ours: labels, the summary, and a table with a problem.
    assert set(inline) <= {"text", "text_special", "code_inline", "strong_open", "strong_close", "softbreak"}


def test_a_pipe_in_a_name_does_not_split_its_row(hostile: Record) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(hostile))
    cells = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "td_open"]
    assert '``sch"ema.<b>tab|le`x`</b>\\u200b``' in cells


@pytest.mark.parametrize("active", ["@everyone", "@org", "http://", "www.", "#1"])
def test_nothing_outside_code_mentions_or_links(hostile: Record, active: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(hostile))
    children = [child for token in tokens for child in token.children or ()]
    # GitHub looks for these in what is shown, after the escapes are gone; it never looks into code.
    texts = "".join("" if child.type == "code_inline" else child.content or "\n" for child in children)
    assert "evil.example" in texts
    assert active not in texts


def test_what_does_not_fit_is_cut_at_a_line_and_a_note_says_so(hostile: Record) -> None:
    many = tuple(replace(hostile.findings[0], object=f"ñ{i}", why=f"because {i}") for i in range(9000))
    record = replace(hostile, findings=many)
    whole = render_markdown(record)
    assert 890_000 < len(whole.encode()) <= 900_000
    assert whole.startswith("# ❌ Failed")
    assert whole.endswith("*Cut here to fit; the whole record is in `record.json` and `report.html`.*\n")
    assert len(render_markdown(record, limit_bytes=65_000).encode()) <= 65_000


def test_findings_beyond_the_shown_ones_are_counted(hostile: Record) -> None:
    many = tuple(replace(hostile.findings[0], object=f"t{i}") for i in range(1234))
    rendered = render_markdown(replace(hostile, findings=many))
    assert "234 more are in `record.json`." in rendered
