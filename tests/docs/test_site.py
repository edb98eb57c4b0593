"""The docs hang together: pages are in the navigation, links lead somewhere, and the site needs no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.page import ROOT
from tools.structure import ORDER

DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
IN_REPOSITORY = re.compile(r"(?:auditor|bench|deploy|docs|fuzz|reports|rules|tests)/[\w./-]+")


def tokens(page: Path) -> Iterator[Token]:
    for block in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        yield block
        yield from block.children or ()


def links(page: Path) -> list[str]:
    found = [token.attrGet("href") or token.attrGet("src") for token in tokens(page)]
    return [str(link) for link in found if link and not re.match(r"[a-z]+:", str(link))]


def anchors(page: Path) -> set[str]:
    """The anchors of headings, as code hosts make them: the site builder makes the same, or its build fails."""
    blocks = MarkdownIt("commonmark").parse(page.read_text())
    titles = [blocks[at + 1].content for at, block in enumerate(blocks) if block.type == "heading_open"]
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    for link in links(ROOT / name):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists() and target.resolve().is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    inline = [token.content for token in tokens(ROOT / name) if token.type == "code_inline"]
    named = [text.partition("::")[0] for text in inline if IN_REPOSITORY.fullmatch(text.partition("::")[0])]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    def pages(entries: Any) -> Iterator[str]:
        for entry in entries:
            value = next(iter(entry.values())) if isinstance(entry, dict) else entry
            yield from [value] if isinstance(value, str) else pages(value)

    named = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_comparison_shows_the_figures_of_the_performance_page() -> None:
    def figures(text: str) -> list[str]:
        return [line for line in text.splitlines() if re.search(r"\| \d+ \|$", line)]

    shown = figures((DOCS / "comparison.md").read_text().partition("## Speed\n")[2].partition("\n## ")[0])
    assert len(shown) > 3 and set(shown) <= set(figures((DOCS / "performance.md").read_text()))


@pytest.mark.parametrize("picture", sorted(DOCS.glob("images/*.svg")), ids=lambda path: path.stem)
def test_a_picture_says_in_words_what_it_shows_and_has_a_dark_form(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    named = {str(child.get("id")): child.text for child in root if child.get("id")}
    assert root.get("role") == "img" and all(named[part] for part in str(root.get("aria-labelledby")).split())
    assert "prefers-color-scheme: dark" in picture.read_text()


def test_the_design_shows_every_package_in_its_order() -> None:
    table = (DOCS / "design.md").read_text().partition("## Packages\n")[2].partition("\n## ")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert [re.sub(r"`auditor/(\w+)(/|\.py)`", r"\1", cell.strip()) for cell in cells] == [*ORDER[:-1]]


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("*.html"))) > len(list(DOCS.rglob("*.md")))
    schemas = (ROOT / "reports" / "schemas").iterdir()
    assert {path.name for path in schemas} == {path.name for path in (tmp_path / "schemas").iterdir()}
    loaded = re.compile(r'<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)="((?:https?:)?//[^"]*)"')
    assert {url for page in tmp_path.rglob("*.html") for url in loaded.findall(page.read_text())} == set()
