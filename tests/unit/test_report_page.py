from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from verification.evidence.record import Record, read_record
from verification.finding import Finding
from verification.report import outline
from verification.report.html import render_html
from verification.report.text import visible

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
NAMES = ["verified", "failed", "could_not_verify", "hostile"]
VOID = {"meta", "br"}


class Document(HTMLParser):
    """What a browser would make of it: tags in order, attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, "a tag was left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.fixture(params=NAMES)
def record(request: pytest.FixtureRequest) -> Record:
    return read_record(GOLDEN / f"{request.param}.json")


def test_the_page_refers_to_nothing_outside_itself(record: Record) -> None:
    document = Document(render_html(record))
    assert not {"script", "link", "img", "iframe", "object", "a", "base"} & {tag for tag, _ in document.tags}
    named = {name for _, attributes in document.tags for name in attributes}
    assert not {"src", "href", "srcset", "action", "style"} & named
    assert not [name for name in named if name.startswith("on")]
    assert re.findall(r"url\(([^)]*)\)|@import", document.style) == ["#hatch"]


def test_the_policy_allows_the_one_style_sheet_and_nothing_else(record: Record) -> None:
    document = Document(render_html(record))
    (policy,) = [a["content"] for _, a in document.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(document.style.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_every_finding_is_in_the_page(record: Record) -> None:
    text = Document(render_html(record)).text
    for finding in record.findings:
        for part in (finding.object, finding.expected, finding.actual, finding.why, finding.hint):
            assert visible(part.replace("`", "")) in text.replace("`", "")


def test_the_verdict_and_its_sentence_come_first_and_in_words(record: Record) -> None:
    text = " ".join(Document(render_html(record)).text.split())
    assert text.startswith(f"{outline.VERDICTS[record.verdict]}: ")
    heading = f"Record of a restore drill {outline.VERDICTS[record.verdict]} {record.summary}"
    assert heading in text


def test_the_page_says_how_to_check_it_against_its_record(record: Record) -> None:
    text = Document(render_html(record)).text
    assert outline.digest_record(record) in text
    assert visible(outline.build_check_command(record)) in text


def test_every_table_has_headers_with_a_scope_and_headings_skip_no_level(record: Record) -> None:
    tags = Document(render_html(record)).tags
    assert {a.get("scope") for tag, a in tags if tag == "th"} <= {"col", "row"}
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    ids = Counter(a["id"] for _, a in tags if "id" in a)
    assert set(ids.values()) == {1}
    assert {a["aria-labelledby"] for _, a in tags if "aria-labelledby" in a} <= set(ids)


def test_hostile_names_are_text_with_nothing_hidden() -> None:
    html = render_html(read_record(GOLDEN / "hostile.json"))
    text = Document(html).text
    assert '<script>alert("x")</script>\\u202e\\nverified' in text
    assert not [c for c in html if c in "\x1b\u200b\u202e\u2066\u2069"]
    assert "<script" not in html


def test_of_a_thousand_tables_the_largest_and_the_troubled_are_shown() -> None:
    record = read_record(GOLDEN / "verified.json")
    tables = tuple(replace(record.tables[0], table=f"t{i:04}", size_bytes=i) for i in range(1000))
    tables = (replace(tables[0], rows_restored=0), *tables[1:])
    text = Document(render_html(replace(record, tables=tables))).text
    assert re.findall(r"t\d{4}", text) == ["t0000", *(f"t{i:04}" for i in range(999, 799, -1))]
    assert "799 smaller tables without a problem are in record.json." in " ".join(text.split())


def test_ten_thousand_findings_are_all_in_the_page() -> None:
    record = read_record(GOLDEN / "failed.json")
    many = tuple(
        Finding(check="row-count", object=f"t{i:05}", status="fault", cause="archive", expected=f"{i} rows")
        for i in range(10_000)
    )
    text = Document(render_html(replace(record, findings=many))).text
    assert len(set(re.findall(r"t\d{5}", text))) == 10_000


def test_what_is_not_known_is_said(record: Record) -> None:
    bare = replace(record, sandbox=None, phases=(), checks=(), tables=(), findings=(), not_proved=(), tools={})
    text = " ".join(Document(render_html(bare)).text.split())
    for sentence in ("no sandbox was started", "No tables.", "no checks.", "The record does not say."):
        assert sentence in text
