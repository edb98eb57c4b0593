"""A token that a person typed for a test is reported with low confidence; a list of checksums holds no keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.core.limits import DEFAULT
from auditor.detect.confirm import Confirmer
from auditor.detect.heuristics.placeholder import is_typed
from auditor.detect.matcher import Matcher
from auditor.detect.matches import Match
from auditor.detect.rules import Ruleset
from auditor.rulebook.examples import fill


def found(ruleset: Ruleset, matcher: Matcher, text: str) -> list[Match]:
    return Confirmer(ruleset).confirm(text.encode(), matcher.hits(text.encode()), "/srv/notes")


@pytest.fixture(scope="module")
def matcher(ruleset: Ruleset, cache: Path) -> Matcher:
    return Matcher(ruleset, cache)


@pytest.mark.parametrize(
    "template",
    ["AKIA{base32:4}TESTTESTTEST", "sk_live_abcdefgh{base62:20}", "glpat-ABCDEFGHIJKLMNOPQRST", "hf_FAKE{alpha:30}"],
)
def test_a_typed_token_is_low(template: str, ruleset: Ruleset, matcher: Matcher) -> None:
    assert {match.confidence for match in found(ruleset, matcher, "TOKEN=" + fill(template, 3))} == {"low"}


@pytest.mark.parametrize("template", ["sk_test_{base62:24}", "rzp_test_{base62:14}", "FLWSECK_TEST-{alnum:32}-X"])
def test_the_prefix_of_a_test_key_is_no_sign_of_typing(template: str) -> None:
    assert not is_typed(fill(template, 3))


@pytest.mark.parametrize("listed", ["{hex:32}  a/keycloak_secret.py", "{hex:64}  percy/token", "{hex:40} *sentry/key"])
def test_a_list_of_checksums_holds_no_keys(listed: str, ruleset: Ruleset, matcher: Matcher) -> None:
    assert found(ruleset, matcher, "\n".join(fill(listed, seed) for seed in range(3))) == []


def test_base64_of_zeros_does_not_reach_the_limit_of_raw_hits(matcher: Matcher) -> None:
    text = ("A" * 2000 + "B" + "A" * 500 + "/w8") * 200
    assert len(matcher.hits(text.encode())) < DEFAULT.raw_hits
