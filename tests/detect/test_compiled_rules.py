"""Compiled rules in the cache folder: a user's rules add databases, and a damaged folder never loses a rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.detect.matcher import Matcher
from auditor.detect.rules import Ruleset, builtin_rules, select

BUILTIN = next(rule for rule in builtin_rules() if rule.id == "github-pat")
OWN = replace(BUILTIN, id="own-token", pattern=r"\bacme_[0-9a-z]{8}", builtin=False)
TEXT = b"acme_" + b"0a1b2c3d"


def found(ruleset: Ruleset, cache: Path) -> list[str]:
    return [ruleset.rules[number].id for number, _ in Matcher(ruleset, cache).hits(TEXT)]


def databases(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("rules-*.vectorscan")}


def test_an_own_rule_adds_one_database_and_is_found(tmp_path: Path) -> None:
    assert found(select([BUILTIN]), tmp_path) == []
    before = databases(tmp_path)
    assert found(select([BUILTIN, OWN]), tmp_path) == ["own-token"]
    assert len(databases(tmp_path) - before) == 1


@pytest.mark.parametrize("damage", ["missing", "cut", "another"])
def test_a_damaged_database_is_compiled_again(tmp_path: Path, damage: str) -> None:
    ruleset = select([BUILTIN, OWN])
    assert found(ruleset, tmp_path) == ["own-token"]
    other = tmp_path / "other"
    Matcher(select([BUILTIN]), other)
    sound = max(other.glob("rules-*.vectorscan"), key=lambda path: path.stat().st_size).read_bytes()
    for path in tmp_path.glob("rules-*.vectorscan"):
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else sound)
    assert found(ruleset, tmp_path) == ["own-token"]


def test_a_rule_that_is_replaced_is_the_users(tmp_path: Path) -> None:
    assert found(select([BUILTIN]), tmp_path) == []
    assert found(select([BUILTIN, replace(OWN, id=BUILTIN.id)]), tmp_path) == [BUILTIN.id]
