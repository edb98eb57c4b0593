"""Check of the examples of a rule: each must match as this rule, no counterexample may."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import RuleError
from auditor.detect.confirm import Confirmer
from auditor.detect.engines import matching_engine
from auditor.detect.hits import CASELESS, Expression
from auditor.detect.matcher import Matcher, prefilters
from auditor.detect.matches import Match, most_specific
from auditor.detect.rules import Rule, Ruleset, select
from auditor.rulebook.examples import fill

SEEDS = range(3)
"""Seeds of the random text that fills each template."""


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """A problem of a rule at one of its keys; `item` is the index in the list `key`, None for the whole key."""

    key: str
    item: int | None
    message: str


class Prover:
    """Runs rules on texts as a scan would run them on files."""

    def __init__(self, rules: Iterable[Rule], others: Iterable[Rule] = (), cache: Path | None = None) -> None:
        """Compile the rules to check, and separately the other rules of a scan.

        Raises RuleError where the matching engine refuses a rule; `refused` finds such rules.
        """
        self.ruleset = select(rules)
        other_rules = select(rule for rule in others if rule.id not in self.ruleset.by_id)
        self._searches = [_RulesetSearch(ruleset, cache) for ruleset in (self.ruleset, other_rules) if ruleset.rules]

    def find(self, rule: Rule, text: str) -> list[Match]:
        """Return the matches of all rules in a text, at a path that the rule searches."""
        return most_specific([item for search in self._searches for item in search.find(text.encode(), path_for(rule))])

    def problems(self, rule: Rule) -> Iterator[RuleProblem]:
        """Yield the examples that do not match as this rule, and the counterexamples that do."""
        for key, templates in (("examples", rule.examples), ("counterexamples", rule.counterexamples)):
            for number, template in enumerate(templates):
                message = self._problem(rule, template, must_match=key == "examples")
                if message:
                    yield RuleProblem(key, number, message)

    def _problem(self, rule: Rule, template: str, *, must_match: bool) -> str | None:
        for seed in SEEDS:
            try:
                text = fill(template, seed)
            except (ValueError, KeyError, IndexError) as exc:
                return f"the template can't be filled: {exc!r}"
            found = self.find(rule, text)
            if any(_is(item, rule) for item in found) is not must_match:
                return self._reason(rule, text, found) if must_match else "this counterexample matches"
        return None

    @staticmethod
    def _reason(rule: Rule, text: str, found: Sequence[Match]) -> str:
        """Return the reason why an example does not match as its rule."""
        if any(item.rule.id == rule.id for item in found):
            return f"the check {rule.check!r} fails on this example"
        match = re.search(rule.pattern.encode(), text.encode())
        if not match:
            return "the pattern does not match this example"
        if rule.keywords and not any(word.lower() in text.lower() for word in rule.keywords):
            return "this example contains none of the rule's keywords"
        for item in found:
            if item.rule.specificity >= rule.specificity and item.start < match.end() and match.start() < item.end:
                return f"{item.rule.id!r}, which is more specific, matches this example"
        return (
            "the pattern matches this example, but entropy, placeholder or plausibility check rejects the value; "
            "`image-audit rules explain --value-stdin` names the step"
        )


class _RulesetSearch:
    def __init__(self, ruleset: Ruleset, cache: Path | None) -> None:
        self._matcher = Matcher(ruleset, cache)
        self._confirmer = Confirmer(ruleset)

    def find(self, data: bytes, path: str) -> list[Match]:
        by_path = self._matcher.paths.of([path]).get(0, [])
        return self._confirmer.confirm(data, self._matcher.hits(data), "/" + path, by_path)


def refused(rules: Sequence[Rule]) -> dict[str, str]:
    """Return the rules that the matching engine refuses, by id, each with the reason."""
    return {rule.id: reason for rule in rules if (reason := _refusal(rule))}


def _refusal(rule: Rule) -> str | None:
    try:
        items = prefilters(rule)
    except RuleError as exc:
        return str(exc).partition(": ")[2]
    try:
        matching_engine().compile([Expression(0, item.expression, CASELESS if item.caseless else 0) for item in items])
    except ValueError as exc:
        return str(exc)
    return None


def path_for(rule: Rule) -> str:
    """Return a path, relative to the root, that the rule searches."""
    if not rule.paths:
        return "srv/app/settings.conf"
    glob = rule.paths[0].replace("**/", "srv/").replace("/**", "/x").lstrip("/")
    return glob.replace("*", "x").replace("?", "x")


def _is(found: Match, rule: Rule) -> bool:
    return found.rule.id == rule.id and found.confidence is rule.confidence
