"""Rules that go by the name of a secret: found together as each would be alone, and bounded on hostile text."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path

from auditor.core.limits import DEFAULT
from auditor.detect.hits import SPARSE, truncated_rules
from auditor.detect.matcher import Matcher
from auditor.detect.name_rules import name_pattern, name_patterns
from auditor.detect.rules import Rule, Ruleset
from auditor.rulebook.examples import fill

MOST = 100
LINE = "DB_PASSWORD='{base62:16}' api_token=\"{hex:40}\" vendorKey: {base62:32}\n"


def _corpus(ruleset: Ruleset) -> bytes:
    """Examples and counterexamples of generic rules, one behind the other."""
    rules = [rule for rule in ruleset.rules if rule.generic]
    templates = [text for rule in rules for text in (*rule.examples, *rule.counterexamples)]
    return "\n".join(fill(text, seed) for seed, text in enumerate(templates)).encode()


def test_rules_behind_names_have_the_form(ruleset: Ruleset) -> None:
    ids = {ruleset.rules[number].id for number in name_patterns(ruleset)}
    assert {"generic-password", "generic-key-unquoted", "generic-directive", "generic-named-value"} <= ids
    assert "generic-compared" not in ids  # the value stands before the name


def test_each_match_contains_the_raw_hit(ruleset: Ruleset, cache: Path) -> None:
    text = _corpus(ruleset)
    hits = Matcher(ruleset, cache).hits(text)
    missing, matches = [], 0
    for number in name_patterns(ruleset):
        ends = [end for rule, end in hits if rule == number]
        for match in re.finditer(ruleset.rules[number].pattern.encode(), text):
            matches += 1
            if not any(match.start() < end <= match.end() for end in ends):
                missing.append((ruleset.rules[number].id, match[0][:20]))
    assert missing == []
    assert matches > 100


def test_a_name_selects_rules_of_its_kind(ruleset: Ruleset, cache: Path) -> None:
    text = fill("passwd = '{base62:32}'", 1).encode()
    ids = {ruleset.rules[rule].id for rule, _ in Matcher(ruleset, cache).hits(text)}
    assert "generic-password" in ids
    assert "generic-token" not in ids


def test_hits_beyond_the_limit_are_thinned_and_reported(ruleset: Ruleset, cache: Path) -> None:
    text = "".join(fill(LINE, seed) for seed in range(500)).encode()
    found = Matcher(ruleset, cache, dataclasses.replace(DEFAULT, raw_hits=MOST)).hits(text)
    counts = Counter(ruleset.rules[rule].id for rule, _ in found)
    assert max(counts.values()) <= MOST + len(text) // SPARSE
    assert "generic-password" in {ruleset.rules[rule].id for rule in truncated_rules(found, MOST)}


def test_names_alone_are_no_hits(ruleset: Ruleset, cache: Path) -> None:
    names = {number: rule.id for number, rule in enumerate(ruleset.rules) if name_pattern(rule)}
    found = Matcher(ruleset, cache).hits(b"key(key,key)" * 100_000)
    assert [names[rule] for rule, _ in found if rule in names] == []


def test_a_part_of_a_group_and_a_short_tail_are_another_form(ruleset: Ruleset) -> None:
    rule = next(rule for rule in ruleset.rules if rule.id == "generic-password")
    names = rule.pattern.removeprefix("(?i)").partition("(?:\\\\{0,3}")[0]
    for pattern in (f"(?i)(?:{names}|pin)=(.{{8}})", f"(?i){names}=..", f"(?i){names}={{8}}|pin={{8}}"):
        assert name_pattern(_with(rule, pattern)) is None
    assert name_pattern(_with(rule, f"(?i){names}=(?P<secret>.{{8}})")) is not None
    assert name_pattern(dataclasses.replace(rule, builtin=False)) is None


def _with(rule: Rule, pattern: str) -> Rule:
    return dataclasses.replace(rule, pattern=pattern)
