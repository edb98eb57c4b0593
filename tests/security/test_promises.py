"""The page of promises names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", (ROOT / "docs/security.md").read_text())


def names_in(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return found


def test_every_promise_names_a_test_that_exists() -> None:
    assert len(NAMES) > 10
    for path, name in NAMES:
        assert name in names_in(ROOT / path), f"{path}::{name}"
