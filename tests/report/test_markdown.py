"""The comment on a merge request: rendered, escaped, and cut to what a comment takes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from auditor.core.entries import Skipped
from auditor.report import markdown
from auditor.scan import Scanner
from tests.report.samples import hostile, one
from tests.report.test_report import OPTIONS, audited, planted


def html_of(text: str) -> str:
    """Render GitHub's flavour."""
    page: str = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    return page


def test_it_says_who_added_and_who_hid_each_secret(tmp_path: Path, scanner: Scanner) -> None:
    page = html_of(markdown.render([audited(planted()[0], tmp_path, scanner)], OPTIONS))
    assert "LEAKS: 6 secrets at 8 places; 2 hidden but recoverable, 4 visible." in page
    row = next(row for row in page.split("<tr>") if "/deleted:1" in row)
    cells = re.findall(r"<td>(.*?)</td>", row)
    assert cells[3:5] == ["<code>/deleted:1</code>", "deleted"]
    assert cells[5].startswith("layer 0: <code>RUN |1 TOKEN=ghp_****")
    assert cells[6] == "layer 2: <code>RUN rm deleted</code>"
    assert '<a href="https://github.com/settings/tokens">' in page


def test_nothing_of_an_image_is_markup_a_link_or_a_mention(tmp_path: Path, scanner: Scanner) -> None:
    text = markdown.render([audited(hostile()[0], tmp_path, scanner)], OPTIONS)
    page = html_of(text)
    assert len(re.findall("<tr>", page)) == 4 and len(set(re.findall("<a ", page))) <= 1
    assert not re.search(r"<(script|b|img)\b", page)
    outside = re.sub(r"<code>.*?</code>", "", page, flags=re.DOTALL)
    assert not re.search(r"@\w|#\d", outside)
    assert "http\\://evil" in text and "www\\.evil" in text


@pytest.mark.parametrize("text", ["", "`", "``a`", " a ", "a`` ```b", "|", "\\", "<b>"])
def test_a_code_span_shows_any_text_as_it_stands(text: str) -> None:
    page = html_of(f"x {markdown.code(text or '-')} y")
    shown = (text or "-").replace("<", "&lt;").replace(">", "&gt;")
    assert page == f"<p>x <code>{shown}</code> y</p>\n"


def test_it_is_cut_to_what_a_comment_takes_and_says_so(tmp_path: Path, scanner: Scanner) -> None:
    shown = audited(planted()[0], tmp_path, scanner)
    many = replace(shown, findings=shown.findings * 200, skipped=(Skipped("ü" * 300, 0, "too large"),) * 900)
    text = markdown.render([many], OPTIONS)
    assert len(text.encode()) <= markdown.MAX_BYTES
    rows = text.count("\n| 🔴")
    assert rows > 100 and f"**{1600 - rows:,} more places omitted**" in text
    several = markdown.render([many] * 100, OPTIONS)
    assert len(several.encode()) <= markdown.MAX_BYTES and re.search(r"\*\*\d+ more images omitted\*\*", several)


def test_the_base_image_is_named(tmp_path: Path, scanner: Scanner) -> None:
    shown = audited(one()[0], tmp_path, scanner)
    inherited = replace(shown, findings=(replace(shown.findings[0], inherited=True),))
    assert "(base image)" in markdown.render([inherited], OPTIONS)
