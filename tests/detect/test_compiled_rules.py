"""Compiled rules in the cache folder: a user's rules add databases, and a damaged folder never loses a rule."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.core.package_data import data_path
from auditor.detect.matcher import Matcher
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rule_files import rule_files
from auditor.detect.rules import Ruleset, builtin_rules, load_file, select

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


FORKING = """
import os, sys
from pathlib import Path
from auditor.detect.matcher import Matcher
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import select

forks, fork = [], os.fork

def counted():
    if sys.argv[2] == "refused":
        raise BlockingIOError(11, "no process")
    forks.append(1)
    return fork()

os.fork = counted
cache = Path(sys.argv[1])
rules = [rule for rule in cached_builtin_rules(cache) if rule.provider in ("github", "aws", "generic")]
Matcher(select(rules), cache, jobs=2)
print(len(forks))
"""


@pytest.mark.parametrize(("fork", "count"), [("allowed", 8), ("refused", 0)])
def test_processes_compile_what_one_thread_compiles(tmp_path: Path, fork: str, count: int) -> None:
    rules = [rule for rule in cached_builtin_rules(tmp_path / "a") if rule.provider in ("github", "aws", "generic")]
    Matcher(select(rules), tmp_path / "a")
    command = [sys.executable, "-W", "error", "-c", FORKING, str(tmp_path / "b"), fork]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{count}\n"
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert one == other and len(one) > 4


def test_the_patterns_of_the_built_in_rules_are_sound() -> None:
    """A scan does not check them."""
    checked = [rule for path in rule_files(data_path("rules")) for rule in load_file(path)]
    assert [replace(rule, builtin=True) for rule in checked] == [*builtin_rules()]
