"""Explanations name the step that decided on a value, and show no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.detect.explain import Explanation, Outcome, RuleExplanation, explain
from auditor.detect.heuristics.file_class import FileClass
from auditor.detect.rules import Ruleset, load_file, select
from auditor.rulebook.examples import fill


@pytest.fixture(scope="module")
def ruleset_cache(ruleset: Ruleset, cache: Path) -> tuple[Ruleset, Path]:
    return ruleset, cache


def explained(ruleset_cache: tuple[Ruleset, Path], text: str, path: str = "/srv/app.conf") -> Explanation:
    return explain(text.encode(), path, *ruleset_cache)


def of(explanation: Explanation, rule: str) -> RuleExplanation:
    return next(item for item in explanation.rules if item.rule == rule)


def test_a_token_is_reported_with_its_check(ruleset_cache: tuple[Ruleset, Path]) -> None:
    token = fill("ghp_{base62:30}{crc32}")
    found = of(explained(ruleset_cache, f"x {token}"), "github-pat")
    assert (found.outcome, found.check, found.confidence) == (Outcome.REPORTED, "passed", "high")
    assert found.value == f"ghp_****{token[-4:]}"
    assert token not in repr(explained(ruleset_cache, f"x {token}"))


def test_a_heuristic_that_rejects_is_named(ruleset_cache: tuple[Ruleset, Path]) -> None:
    found = of(explained(ruleset_cache, "password = changeme"), "generic-password-unquoted")
    assert (found.outcome, found.heuristic) == (Outcome.REJECTED, "placeholder")


def test_the_path_decides_on_the_file_class(ruleset_cache: tuple[Ruleset, Path]) -> None:
    line = "password = 'hunter2Gz9qLp'"
    config = explained(ruleset_cache, line, "/app/config.ini")
    package = explained(ruleset_cache, line, "/usr/lib/python3/dist-packages/x.py")
    tests = explained(ruleset_cache, line, "/usr/lib/python3/dist-packages/tests/x.py")
    assert (config.file_class, package.file_class, tests.file_class) == (
        FileClass.CONFIG,
        FileClass.THIRD_PARTY,
        FileClass.THIRD_PARTY_TESTS,
    )
    assert any(item.outcome is Outcome.REPORTED for item in config.rules)
    assert {item.heuristic for item in package.rules} >= {"not-random"}
    assert {item.heuristic for item in tests.rules} >= {"third-party-tests"}


def test_a_less_specific_rule_names_the_one_that_wins(ruleset_cache: tuple[Ruleset, Path]) -> None:
    found = explained(ruleset_cache, 'api_key: "kX9fLq2mZr8vTn4cWb7y"')
    beaten = [item for item in found.rules if item.outcome is Outcome.SUPERSEDED]
    assert beaten and all("is more specific" in item.reason for item in beaten)


@pytest.mark.parametrize(
    ("value", "outcome", "heuristic"),
    [("kX9fLq2mZr8vTn", Outcome.PLAUSIBLE, None), ("changeme", Outcome.REJECTED, "placeholder")],
)
def test_a_bare_value_is_judged_as_that_of_a_keyword_rule(
    value: str, outcome: Outcome, heuristic: str | None, ruleset_cache: tuple[Ruleset, Path]
) -> None:
    found = explained(ruleset_cache, value + "\n").bare_value
    assert found and (found.outcome, found.heuristic) == (outcome, heuristic)


def test_the_steps_before_the_heuristics_are_named(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "- {id: own, name: Own, provider: own, severity: high, confidence: high, pattern: 'own_[0-9a-z]{16}', "
        "keywords: [acme], entropy: 3, examples: ['acme own_{hex:16}'], counterexamples: ['own_{hex:16}']}\n"
    )
    rules = select(load_file(path))
    reasons = [
        explain(text, "", rules).rules[0].reason
        for text in (b"acme own_0101010101010101", b"own_0a1b2c3d4e5f6789", b"acme own_xxxxxx1b2c3d4e5f")
    ]
    assert [reason.split()[0] for reason in reasons] == ["entropy", "none", "a"]
