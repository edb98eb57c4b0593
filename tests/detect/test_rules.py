"""Every rule holds its own proof; malformed ones say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from auditor.core.errors import RuleError
from auditor.detect.rules import Rule, Ruleset, builtin_rules, load_file, select
from auditor.rulebook.example_check import Prover
from tests.detect.rules_by_file import RULES, RULES_BY_FILE


def test_there_are_rules_and_their_ids_are_unique() -> None:
    assert len(RULES) >= 200
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert [rule for rules in RULES_BY_FILE.values() for rule in rules] == list(RULES)


@pytest.mark.parametrize("rules", RULES_BY_FILE.values(), ids=RULES_BY_FILE)
def test_examples_are_found_as_the_rule_and_near_misses_are_not(rules: list[Rule], prover: Prover) -> None:
    assert [rule.id for rule in rules if min(len(rule.examples), len(rule.counterexamples)) < 2] == []
    assert {rule.id: problems for rule in rules if (problems := list(prover.problems(rule)))} == {}


VALID = {
    "id": "a-b",
    "name": "A",
    "provider": "a",
    "severity": "high",
    "confidence": "high",
    "pattern": "ab[0-9]{9}",
    "keywords": ["ab"],
    "examples": ["ab{digits:9}"],
    "counterexamples": ["ab{digits:8}"],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "A B"}, "own.yaml:6: [0].id: expected lower-case words"),
        ({"patern": "x"}, "did you mean 'pattern'?"),
        ({"pattern": "("}, "a-b.pattern: missing"),
        ({"pattern": "a*"}, "matches the empty text"),
        ({"severity": "huge"}, "a-b.severity: "),
        ({"entropy": 9}, "expected 0 to 8"),
        ({"check": "github-chksum"}, "did you mean 'github-checksum'?"),
        ({"keywords": "ab"}, "a-b.keywords: "),
        ({"examples": []}, "a-b.examples: expected at least one"),
        ({"name": None}, "a-b: name is missing"),
    ],
)
def test_a_malformed_rule_says_what_is_wrong(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump([VALID | change]))
    with pytest.raises(RuleError, match=r"own\.yaml") as caught:
        load_file(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["a: 1", "[1]", "[", "- {id: x}", "!!python/object:os.system {}"])
def test_a_file_that_holds_no_rules_says_so(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(RuleError):
        load_file(path)


def test_a_later_rule_replaces_one_of_the_same_id() -> None:
    first, second = RULES[0], RULES[1]
    assert select([first, second, first]).rules == tuple(sorted((first, second), key=lambda r: r.id))


def test_the_digest_changes_with_the_rules() -> None:
    assert Ruleset(RULES).digest == Ruleset(builtin_rules()).digest != Ruleset(RULES[1:]).digest
