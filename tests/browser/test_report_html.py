"""The page in a real browser: on a phone, on a screen, in the dark, on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from verification.evidence.record import read_record
from verification.report.html import render_html

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
NAMES = ["verified", "failed", "could_not_verify", "hostile", "thousand-tables"]

# Of each element with text of its own: the WCAG contrast of its colour and the nearest background that is
# not see-through. The two gradients of a scroll box are shades of the same paper and are left out.
_FAINT_TEXT = """
(() => {
  const parse = (css) => (css.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) faint.push(`${element.tagName}.${element.className} ${contrast.toFixed(2)}`);
  }
  return faint;
})()
"""
_BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"


@pytest.fixture(params=NAMES)
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    crowded = request.param == "thousand-tables"
    record = read_record(GOLDEN / f"{'verified' if crowded else request.param}.json")
    if crowded:
        tables = tuple(replace(record.tables[0], table=f"tenant_{i:04}.invoices") for i in range(1000))
        record = replace(record, tables=tables)
    path = tmp_path / "report.html"
    path.write_text(render_html(record), "utf-8")
    return path


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_the_page_never_scrolls_sideways(page: Any, report: Path, width: int) -> None:
    page.open(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [pytest.param(False, id="light"), pytest.param(True, id="dark")])
def test_all_text_stands_out_from_its_ground(page: Any, report: Path, dark: bool) -> None:  # noqa: FBT001
    page.open(report, width=1280, dark=dark)
    assert page.evaluate(_BACKGROUND) == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
    assert page.evaluate(_FAINT_TEXT) == []


def test_the_browser_has_nothing_to_complain_about_and_asks_for_nothing(page: Any, report: Path) -> None:
    page.open(report, width=1280)
    assert page.complaints() == []
    assert page.requested_urls() == [report.as_uri()]
    # The policy must not have refused the style sheet: then nothing would be laid out.
    assert page.evaluate("getComputedStyle(document.querySelector('main > section')).display") == "grid"


def test_a_wide_table_scrolls_in_its_own_box(page: Any, report: Path) -> None:
    page.open(report, width=320)
    boxes = page.evaluate("[...document.querySelectorAll('.scroll')].map((b) => [b.scrollWidth, b.clientWidth])")
    assert any(whole > shown for whole, shown in boxes)


def test_the_timeline_is_drawn_within_its_track(page: Any, report: Path) -> None:
    page.open(report, width=1280)
    bars = page.evaluate(
        "[...document.querySelectorAll('.bar svg')].map((svg) => [...svg.children].map((r) => r.getBBox()))"
        ".map(([track, bar]) => [bar.x, bar.width, bar.x + bar.width - track.width])"
    )
    assert bars
    assert all(x >= 0 and width >= 1 and beyond < 0.5 for x, width, beyond in bars)


def test_paper_is_white_even_where_the_screen_is_dark(page: Any, report: Path) -> None:
    page.open(report, width=1280, dark=True)
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.evaluate(_BACKGROUND) == "rgb(255, 255, 255)"
    assert page.print_pdf().startswith(b"%PDF-")
    page.call("Emulation.setEmulatedMedia", media="")
