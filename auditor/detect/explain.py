"""Explanation of detection: the rules that hit a text, and the step that accepted or rejected each value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.detect.confirm import Confirmer
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.heuristics.placeholder import is_sample, is_typed
from auditor.detect.heuristics.plausibility import applied_heuristics, entropy, rejecting_heuristic
from auditor.detect.matcher import Matcher
from auditor.detect.matches import Match, Rejection, mask, most_specific
from auditor.detect.rules import Rule, Ruleset

_REASONS = {
    "entropy": "entropy {entropy:.1f} bits a character, below the rule's minimum of {rule.entropy:g}",
    "random": "does not look drawn at random",
    "keywords": "none of the rule's keywords stands within 4 KiB",
    "placeholder": "a placeholder of a token's shape",
}


class Outcome(StrEnum):
    """Result of one rule for one value; PLAUSIBLE of a value without a rule."""

    REPORTED = "reported"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    NO_MATCH = "no match"
    PLAUSIBLE = "plausible"


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """Result of one rule for one value.

    `value` is the mask of the value; `check` and `confidence` are those of a match; `heuristic` is the name of the
    heuristic that rejected the value.
    """

    rule: str | None
    outcome: Outcome
    reason: str
    value: str | None = None
    entropy: float | None = None
    check: str | None = None
    confidence: str | None = None
    heuristic: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Results of all rules that hit a text in a file of a class.

    Where no rule hits, `bare_value` says how a keyword rule would judge the text as its value.
    """

    file_class: FileClass
    rules: tuple[RuleExplanation, ...]
    bare_value: RuleExplanation | None


def explain(text: bytes, path: str, ruleset: Ruleset, cache: Path | None = None) -> Explanation:
    """Run all rules on a text as on the file at `path`, and keep the reasons. Raises MissingLibrary.

    `path` is absolute; "" stands for text of an image's metadata. `cache` is the folder of compiled rules.
    """
    matcher, confirmer = Matcher(ruleset, cache), Confirmer(ruleset)
    hits = matcher.hits(text)
    by_path = matcher.paths.of([path.lstrip("/")]).get(0, [])
    outcomes = list(confirmer.outcomes(text, hits, path, by_path))
    judged = {outcome.rule.id for outcome in outcomes}
    candidates = sorted({number for number, _ in hits}.union(by_path))
    unmatched = [ruleset.rules[number] for number in candidates if ruleset.rules[number].id not in judged]
    rules = (*_judged(outcomes, file_class(path)), *map(_no_match, unmatched))
    bare = None if outcomes else _bare_value(text.decode("utf-8", "replace").strip(), path)
    return Explanation(file_class(path), rules, bare)


def _judged(outcomes: Sequence[Match | Rejection], kind: FileClass) -> Iterator[RuleExplanation]:
    """Yield reported matches first, then superseded ones, then rejections."""
    matches = [outcome for outcome in outcomes if isinstance(outcome, Match)]
    reported = most_specific(matches)
    yield from (_match(match, Outcome.REPORTED, _accepted(match, kind)) for match in reported)
    for match in matches:
        if not any(match is one for one in reported):
            winner = next(one for one in reported if one.start < match.end and match.start < one.end)
            yield _match(match, Outcome.SUPERSEDED, f"{winner.rule.id} is more specific for the same text")
    yield from (_rejection(outcome) for outcome in outcomes if isinstance(outcome, Rejection))


def _match(match: Match, outcome: Outcome, reason: str) -> RuleExplanation:
    value = match.secret.reveal()
    return RuleExplanation(
        match.rule.id,
        outcome,
        reason,
        match.secret.masked,
        round(entropy(value), 2),
        match.check,
        match.confidence.value,
    )


def _accepted(match: Match, kind: FileClass) -> str:
    rule = match.rule
    if not rule.generic and is_sample(match.secret.reveal()):
        return "pattern, keywords and entropy fit, but the value is a sample: it holds EXAMPLE, or repeats a character"
    if rule.is_token and is_typed(match.secret.reveal()):
        return (
            "pattern, keywords and entropy fit, but the value was typed: it holds FAKE, TEST or a run of the alphabet"
        )
    if not rule.generic:
        return "pattern, keywords and entropy fit, and the value is no placeholder"
    return f"accepted by all {len(applied_heuristics(kind))} heuristics for {kind.name} files"


def _rejection(rejection: Rejection) -> RuleExplanation:
    rule, heuristic, bits = rejection.rule, rejection.heuristic, entropy(rejection.value)
    reason = heuristic.reason if heuristic else _REASONS[rejection.step].format(rule=rule, entropy=bits)
    return RuleExplanation(
        rule.id,
        Outcome.REJECTED,
        reason,
        mask(rejection.value, rule),
        round(bits, 2),
        heuristic=heuristic.name if heuristic else None,
    )


def _no_match(rule: Rule) -> RuleExplanation:
    if rule.detector != "rules":
        reason = "detect-secrets rejects the line"
    elif rule.paths:
        reason = "the path selects the rule, but its pattern or keywords do not match"
    else:
        reason = "the prefilter hits, but the pattern does not match"
    return RuleExplanation(rule.id, Outcome.NO_MATCH, reason)


def _bare_value(value: str, path: str) -> RuleExplanation:
    """Judge a text as the value of a keyword rule."""
    kind, bits = file_class(path), round(entropy(value), 2)
    heuristic = rejecting_heuristic(value, value, path)
    if heuristic:
        return RuleExplanation(None, Outcome.REJECTED, heuristic.reason, entropy=bits, heuristic=heuristic.name)
    reason = f"accepted by all {len(applied_heuristics(kind))} heuristics for {kind.name} files"
    return RuleExplanation(None, Outcome.PLAUSIBLE, reason, entropy=bits)
