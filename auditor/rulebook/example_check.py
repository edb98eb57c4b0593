"""Whether a rule holds what it says: its examples are found as this rule, its near misses are not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.core.errors import RuleError
from auditor.detect.confirm import Confirmer, Match, most_specific
from auditor.detect.engines import matching_engine
from auditor.detect.hits import CASELESS, Expression
from auditor.detect.matcher import Matcher, prefilters
from auditor.detect.rules import Rule, Ruleset, select
from auditor.rulebook.examples import fill

SEEDS = range(3)
"""Each template is filled this often, with other random text each time."""


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """What is wrong with a rule: `item` is the number, from 0, of the example in the rule's list `key`."""

    rule: str
    key: str
    item: int | None
    message: str


class Prover:
    """Runs rules on texts as a scan would run them on files."""

    def __init__(self, rules: Iterable[Rule], others: Iterable[Rule] = (), cache: Path | None = None) -> None:
        """Compile the rules to prove, and apart from them others that are in force in the same scan.

        Raises RuleError where Vectorscan refuses a rule; `refused` says beforehand which.
        """
        self.ruleset = select(rules)
        beside = select(rule for rule in others if rule.id not in self.ruleset.by_id)
        self._engines = [_Engine(ruleset, cache) for ruleset in (self.ruleset, beside) if ruleset.rules]

    def find(self, rule: Rule, text: str) -> list[Match]:
        """Return the matches of all rules in a file of that text, at a path that this rule looks at."""
        return most_specific([item for engine in self._engines for item in engine.find(text.encode(), path_for(rule))])

    def problems(self, rule: Rule) -> Iterator[RuleProblem]:
        """Yield each example that is not found as this rule, and each counterexample that is."""
        for key, templates in (("examples", rule.examples), ("counterexamples", rule.counterexamples)):
            for number, template in enumerate(templates):
                wrong = self._wrong(rule, template, wanted=key == "examples")
                if wrong:
                    yield RuleProblem(rule.id, key, number, wrong)

    def _wrong(self, rule: Rule, template: str, *, wanted: bool) -> str | None:
        for seed in SEEDS:
            try:
                text = fill(template, seed)
            except (ValueError, KeyError, IndexError) as exc:
                return f"the template can't be filled: {exc!r}"
            found = self.find(rule, text)
            if any(_is(item, rule) for item in found) is not wanted:
                return self._reason(rule, text, found) if wanted else "this near miss is found"
        return None

    @staticmethod
    def _reason(rule: Rule, text: str, found: Sequence[Match]) -> str:
        """Say why an example is not found as its rule."""
        if any(item.rule.id == rule.id for item in found):
            return f"the check {rule.check!r} fails on this example"
        match = re.search(rule.pattern.encode(), text.encode())
        if not match:
            return "the pattern does not match this example"
        if rule.keywords and not any(word.lower() in text.lower() for word in rule.keywords):
            return "none of the rule's keywords stands in this example"
        for item in found:
            if item.rule.specificity >= rule.specificity and item.start < match.end() and match.start() < item.end:
                return f"this example is found as {item.rule.id!r}, which is more specific"
        return "the pattern matches this example, but the secret is judged a placeholder, a word or too regular"


class _Engine:
    def __init__(self, ruleset: Ruleset, cache: Path | None) -> None:
        self._matcher = Matcher(ruleset, cache)
        self._confirmer = Confirmer(ruleset)

    def find(self, data: bytes, path: str) -> list[Match]:
        called = self._matcher.paths.of([path]).get(0, [])
        return self._confirmer.confirm(data, self._matcher.hits(data), "/" + path, called)


def refused(rules: Sequence[Rule]) -> dict[str, str]:
    """Return why Vectorscan can't look for a rule, by the ids of those that it refuses."""
    if len(rules) > 1 and _refusal(rules) is None:
        return {}
    return {rule.id: reason for rule in rules if (reason := _refusal([rule]))}


def _refusal(rules: Iterable[Rule]) -> str | None:
    try:
        items = [item for rule in rules for item in prefilters(rule)]
    except RuleError as exc:
        return str(exc).partition(": ")[2]
    try:
        matching_engine().compile([Expression(0, item.expression, CASELESS if item.caseless else 0) for item in items])
    except ValueError as exc:
        return str(exc)
    return None


def path_for(rule: Rule) -> str:
    """Return a path, relative to the root, that the rule looks at."""
    if not rule.paths:
        return "srv/app/settings.conf"
    glob = rule.paths[0].replace("**/", "srv/").replace("/**", "/x").lstrip("/")
    return glob.replace("*", "x").replace("?", "x")


def _is(found: Match, rule: Rule) -> bool:
    return found.rule.id == rule.id and found.confidence is rule.confidence
