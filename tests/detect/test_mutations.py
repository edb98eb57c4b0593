"""A secret with a character too few, a wrong checksum, or a character outside its alphabet is not found as its rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditor.detect.matches import Match
from auditor.detect.rules import Rule
from auditor.rulebook.example_check import Prover
from auditor.rulebook.examples import fill
from tests.detect.mutations import Mutant, alphabet, lengths, mutants, secret_part
from tests.detect.rules_by_file import RULES, RULES_BY_FILE


def broken(rule: Rule, prover: Prover, seed: int = 7) -> Iterator[Mutant]:
    """Yield all near misses of a rule's examples."""
    for template in rule.examples:
        text = fill(template, seed)
        for found in own(prover, rule, text):
            yield from mutants(rule, text, found)


def own(prover: Prover, rule: Rule, text: str) -> list[Match]:
    return [found for found in prover.find(rule, text) if found.rule.id == rule.id]


@pytest.mark.parametrize("rules", RULES_BY_FILE.values(), ids=RULES_BY_FILE)
def test_a_broken_secret_is_not_found_as_its_rule(rules: list[Rule], prover: Prover) -> None:
    found = {rule.id: [one.text for one in broken(rule, prover) if one.is_found(prover, rule)] for rule in rules}
    assert {rule_id: texts for rule_id, texts in found.items() if texts} == {}


def test_nearly_every_rule_can_be_broken(prover: Prover) -> None:
    # The rest has no shortest length, such as a key of any number of lines, or takes any byte.
    whole = [rule.id for rule in RULES if next(broken(rule, prover), None) is None]
    assert len(whole) < len(RULES) / 50, whole


def test_every_check_that_a_rule_names_passes_its_examples(prover: Prover) -> None:
    for rule in RULES:
        if rule.check:
            checks = {found.check for found in own(prover, rule, fill(rule.examples[0], 7))}
            assert checks <= {"passed", "none"}, rule.id


@pytest.mark.parametrize(
    ("pattern", "sizes"),
    [
        ("a[0-9]{3}", {4}),
        ("(?:ab|c)?d", {1, 2, 3}),
        ("(?P<secret>[a-z]{2,4})x", {2, 3, 4}),
        ("x(?=y)(?:ab){2,3}", {5, 7}),
        ("(?:a|bc)(?:-[0-9]{2}){0,2}", {1, 2, 4, 5, 7, 8}),
    ],
)
def test_lengths_are_those_that_the_pattern_allows(pattern: str, sizes: set[int]) -> None:
    assert lengths(secret_part(pattern)) == sizes


def test_the_alphabet_is_every_byte_that_may_stand_somewhere() -> None:
    assert alphabet(secret_part("[0-3]a")) == {*b"0123aA"}
    assert alphabet(secret_part("[^a]")) >= {*range(256)} - {*b"aA"}
