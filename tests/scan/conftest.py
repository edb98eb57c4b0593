"""A searcher with the built-in rules, and an extractor, for tests with byte strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.detect.rules import Ruleset
from auditor.scan.extractor import Extractor
from auditor.scan.searcher import Searcher


@pytest.fixture(scope="session")
def searcher(ruleset: Ruleset, cache: Path) -> Searcher:
    return Searcher(ruleset, cache)


@pytest.fixture(scope="session")
def extractor(searcher: Searcher) -> Extractor:
    return Extractor(searcher)
