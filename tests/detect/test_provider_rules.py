"""Rules that go by the name of a provider: found together as each would be alone, and bounded on hostile text."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

from auditor.core.limits import DEFAULT
from auditor.detect.hits import SPARSE, truncated_rules
from auditor.detect.matcher import Matcher
from auditor.detect.prefilter import prefilter
from auditor.detect.provider_rules import provider_patterns
from auditor.detect.rules import Ruleset
from auditor.rulebook.examples import fill

MOST = 100
LINE = "cf gh postmark heroku zoom trello jira vercel " + "key=ABCDEFGHIJKLMNOP " * 4


def test_hundreds_of_rules_have_the_form(ruleset: Ruleset) -> None:
    assert len(provider_patterns(ruleset)) > 600


def test_a_name_far_before_an_assignment_selects_no_rule(ruleset: Ruleset, cache: Path) -> None:
    matcher = Matcher(ruleset, cache)
    near, far = (fill(f"postmark{gap}key = {{uuid}}", 1).encode() for gap in (" ", " " * 400))
    ids = [{ruleset.rules[rule].id for rule, _ in matcher.hits(text)} for text in (near, far)]
    assert any(one.startswith("postmark") for one in ids[0]) and not any(one.startswith("postmark") for one in ids[1])


def test_hits_beyond_the_limit_are_thinned_and_told(ruleset: Ruleset, cache: Path) -> None:
    text = (LINE * 500).encode()
    found = Matcher(ruleset, cache, dataclasses.replace(DEFAULT, raw_hits=MOST)).hits(text)
    counts = Counter(rule for rule, _ in found)
    assert max(counts.values()) <= MOST + len(text) // SPARSE
    assert any(ruleset.rules[rule].id.startswith("postmark") for rule in truncated_rules(found, MOST))


def test_a_short_name_is_searched_at_the_start_of_a_text_and_not_within_a_word(ruleset: Ruleset, cache: Path) -> None:
    matcher = Matcher(ruleset, cache)
    found = [
        any(ruleset.rules[rule].id == "azure-devops-pat" for rule, _ in matcher.hits(text + b'="ABCDEFGHIJKLMNOPQRST"'))
        for text in (b"ado", b"my_ado", b"\nADO", b"hadoop", b"hado", b"9ado")
    ]
    assert found == [True, True, True, False, False, False]


def test_the_byte_before_a_match_is_checked_where_it_helps() -> None:
    assert prefilter("(?<![a-z])ado=").expression == prefilter("ado=").expression
    assert prefilter("(?:(?<![a-z])ado|vsts)=", bounded=True).expression != prefilter("(?:ado|vsts)=").expression
    assert prefilter("(?<![a-z])[0-9]{20}=", bounded=True).expression == prefilter("[0-9]{20}=").expression
