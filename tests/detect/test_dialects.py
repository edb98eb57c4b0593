"""Secrets in the grammar of languages, tools and files are found, and near misses are not: bench/dialects.txt."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from auditor.core.finding import Confidence
from auditor.detect.confirm import Confirmer
from auditor.detect.matcher import Matcher
from auditor.detect.matches import Match
from auditor.detect.rules import builtin_rules, select
from bench.dialects import Dialect, dialects


def _family(dialect: Dialect) -> str:
    return dialect.family


FAMILIES = {
    family: tuple(rows) for family, rows in groupby(sorted(dialects(random.Random(7)), key=_family), key=_family)
}


@pytest.fixture(scope="module")
def find(cache: Path) -> Callable[[Dialect], list[Match]]:
    ruleset = select(builtin_rules())
    matcher, confirmer = Matcher(ruleset, cache), Confirmer(ruleset)

    def found(dialect: Dialect) -> list[Match]:
        data = dialect.text.encode()
        by_path = matcher.paths.of([dialect.path]).get(0, [])
        matches = confirmer.confirm(data, matcher.hits(data), f"/{dialect.path}", by_path)
        return [match for match in matches if match.confidence is not Confidence.LOW]

    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_secrets_are_found_at_the_default_confidence(family: str, find: Callable[[Dialect], list[Match]]) -> None:
    planted = [dialect for dialect in FAMILIES[family] if dialect.secret]
    assert [dialect.row for dialect in planted if not any(_is(match, dialect) for match in find(dialect))] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_near_misses_are_not_reported(family: str, find: Callable[[Dialect], list[Match]]) -> None:
    misses = [dialect for dialect in FAMILIES[family] if dialect.secret is None]
    assert [dialect.row for dialect in misses if find(dialect)] == []


def _is(match: Match, dialect: Dialect) -> bool:
    found, secret = match.secret.reveal(), dialect.secret or ""
    return found in secret or secret in found
