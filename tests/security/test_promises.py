"""The page of promises names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
NAMES = TEST.findall(PAGE)


def names_in(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return found


def rows(heading: str) -> list[str]:
    """The rows of the table under a heading."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("| ")][1:]


def test_every_promise_names_a_test_that_exists() -> None:
    promises = [*rows("Promises"), *rows("Failures")]
    assert len(promises) > 30 and [row for row in promises if not TEST.search(row)] == []
    for path, name in NAMES:
        assert name in names_in(ROOT / path), f"{path}::{name}"
