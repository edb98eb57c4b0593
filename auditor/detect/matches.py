"""Matches of rules: confirmed secrets, rejected values, masks, and the choice between overlapping matches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.detect.heuristics.plausibility import Heuristic
from auditor.detect.rules import Rule


@dataclass(frozen=True, slots=True)
class Match:
    """A confirmed secret at the bytes [start, end) of a text."""

    rule: Rule
    start: int
    end: int
    secret: Secret
    check: str
    confidence: Confidence
    """The rule's; low where the check failed or a person typed the token; medium or low for a guessable password."""
    width: int = 0
    """Bytes that the pattern matched, the words around the secret included."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A value at the bytes [start, end) that the pattern of a rule matches and a later step rejects.

    `step` is `entropy`, `random`, `keywords`, `placeholder` or `heuristic`; `heuristic` is set in the last case.
    """

    rule: Rule
    start: int
    end: int
    value: str = field(repr=False)
    step: str
    heuristic: Heuristic | None = None


def mask(secret: str, rule: Rule) -> str:
    """Return the mask of a secret: prefix of the provider and last 4 characters, else at most the first 2."""
    if secret.startswith("-----BEGIN"):
        return secret[: secret.find("-----", len("-----BEGIN")) + 5][:60] + "****"
    prefix = max((word for word in rule.keywords if secret.startswith(word)), key=len, default="")
    hidden = len(secret) - len(prefix)
    if prefix and not rule.generic and hidden >= 16:
        return f"{prefix}****{secret[-4:]}"
    return f"{secret[:2]}****" if len(secret) >= 8 else "****"


def most_specific(found: Sequence[Match]) -> list[Match]:
    """Return the most specific of overlapping matches, in the order of the text."""
    kept: list[Match] = []  # in the order of the text, without overlaps
    for item in sorted(found, key=_rank, reverse=True):
        at = bisect_right(kept, item.start, key=_start)
        if (at == 0 or kept[at - 1].end <= item.start) and (at == len(kept) or item.end <= kept[at].start):
            kept.insert(at, item)
    return kept


def _start(found: Match) -> int:
    return found.start


def _rank(found: Match) -> tuple[object, ...]:
    """Return the sort key for overlaps: specificity first, then the check, the length of secret and of match.

    A generic match whose check failed ranks below all others; a token whose check failed stays, as a near miss.
    """
    refuted = found.rule.generic and found.check == "failed"
    return not refuted, found.rule.specificity, found.check == "passed", found.end - found.start, found.width
