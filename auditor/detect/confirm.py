"""Confirmation of raw hits: Python's `re` on a small window, then entropy, keywords, plausibility, offline check."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from auditor.core.finding import GUESSABLE, Confidence
from auditor.core.limits import DEFAULT, Limits
from auditor.core.secret import Secret
from auditor.detect.detect_secrets_plugins import secrets_in_line
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.heuristics.placeholder import is_placeholder, is_sample, is_typed
from auditor.detect.heuristics.plausibility import (
    Heuristic,
    entropy,
    guessable_confidence,
    looks_random,
    rejecting_heuristic,
)
from auditor.detect.name_rules import name_pattern
from auditor.detect.prefilter import prefilter
from auditor.detect.rules import CHECKS, Rule, Ruleset

CONTEXT = 4096
"""Bytes on each side of a match within which one of the rule's keywords must stand."""

EDGE = 256
"""Bytes beyond a window that the pattern may look at."""

_ATTEMPT = 8
"""Bytes that a search passes in the time of an attempt at one byte."""
_SMALL = 64 << 10
"""Bytes of a text that is searched for the keywords of rules first: most raw hits have none, so need no pattern."""
_MAX_GROUP = 16 << 10
"""Bytes over which neighbouring hits of one rule are confirmed in one window."""

TruncationCallback = Callable[[str], None]
"""Callback for a rule, by its id, with too many hits: not all are confirmed."""


def ignore_truncation(_: str) -> None:
    """Callback that does nothing."""


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


class Confirmer:
    """Confirms raw hits of one ruleset. A pattern is compiled when its rule hits for the first time."""

    def __init__(self, ruleset: Ruleset, limits: Limits = DEFAULT) -> None:
        self._most = limits.raw_hits
        self._rules = ruleset.rules
        self._patterns: dict[int, re.Pattern[bytes]] = {}
        self._reaches: dict[int, tuple[int, int]] = {}

    def confirm(
        self,
        text: memoryview | bytes,
        hits: Sequence[tuple[int, int]],
        path: str,
        path_rules: Sequence[int] = (),
        ends_in: tuple[int, int] = (0, sys.maxsize),
        overrun: TruncationCallback = ignore_truncation,
    ) -> list[Match]:
        """Return the matches for raw hits (rule number, end); of overlapping ones, the most specific.

        `text` is a file, or a window of it; `path` is its absolute path, of a member the last one. `path_rules` are the
        numbers of the rules that the path selects. They search the whole text; only matches that end in the half-open
        range `ends_in` count, so each window of a file reports its own.
        """
        if file_class(path) is FileClass.THIRD_PARTY_TESTS:  # heuristics reject every match of a generic rule there
            hits = [hit for hit in hits if not self._rules[hit[0]].generic]
            path_rules = [number for number in path_rules if not self._rules[number].generic]
        if len(text) <= _SMALL:
            lacking = self._lacking(bytes(text).lower(), {number for number, _ in hits}.union(path_rules))
            hits = [hit for hit in hits if hit[0] not in lacking]
            path_rules = [number for number in path_rules if number not in lacking]
        outcomes = self.outcomes(text, hits, path, path_rules, ends_in, overrun)
        return most_specific([outcome for outcome in outcomes if isinstance(outcome, Match)])

    def _lacking(self, lowered: bytes, numbers: Iterable[int]) -> set[int]:
        """Return the rules with keywords of which a text, in lower case, has none: no match of theirs can count."""
        rules = ((number, self._rules[number]) for number in numbers)
        return {
            number
            for number, rule in rules
            if rule.keywords
            and rule.detector == "rules"
            and not any(map(lowered.__contains__, _lowered(rule.keywords)[0]))
        }

    def outcomes(
        self,
        text: memoryview | bytes,
        hits: Sequence[tuple[int, int]],
        path: str,
        path_rules: Sequence[int] = (),
        ends_in: tuple[int, int] = (0, sys.maxsize),
        overrun: TruncationCallback = ignore_truncation,
    ) -> Iterator[Match | Rejection]:
        """Yield a match or a rejection for each value that the pattern of a rule matches; arguments as of `confirm`."""
        ends: dict[int, list[int]] = {}
        for number, end in hits:
            ends.setdefault(number, []).append(end)
        for number, own in sorted(ends.items(), reverse=True):  # of equal matches the last rule id decides
            own.sort()
            if self._rules[number].detector == "rules":
                yield from self._around_hits(number, text, own, path)
            else:
                yield from self._on_lines(number, text, own, path)
        for number in path_rules:
            yield from self._in_whole_text(number, text, path, ends_in, overrun)

    def _around_hits(
        self, number: int, text: memoryview | bytes, ends: Sequence[int], path: str
    ) -> Iterator[Match | Rejection]:
        """Search windows around sorted hit ends. Neighbouring hits share one window.

        A text can be made so that a rule hits at every byte and never matches; one window for each hit would take
        quadratic time.
        """
        pattern, (back, ahead) = self._pattern(number), self._reach(number)
        rule, done = self._rules[number], -1
        for first, last in _groups(ends, back + ahead + 2 * EDGE):
            low, high = max(0, ends[first] - back - EDGE), min(len(text), ends[last] + ahead + EDGE)
            window, at = bytes(text[low:high]), 0
            for near, far in _groups(ends[first : last + 1], back):
                at, stop = max(at, ends[first + near] - back - low), ends[first + far] - low
                while match := _next_match(pattern, window, at, stop, stop + ahead + EDGE):
                    at = match.start() + 1
                    start, end = match.start() + low, match.end() + low
                    hit = bisect_right(ends, start)
                    if end <= done or hit == len(ends) or ends[hit] > end:
                        at = max(at, match.end())
                        continue
                    outcomes = _judge(rule, match, low, text, path)
                    if any(isinstance(one, Match) and one.check != GUESSABLE for one in outcomes):
                        done = outcomes[-1].end
                        at = max(at, match.end())
                    else:  # the value may be a name, with its own value behind it
                        at = max(at, outcomes[0].start - low)
                    yield from outcomes

    def _in_whole_text(
        self, number: int, text: memoryview | bytes, path: str, ends_in: tuple[int, int], overrun: TruncationCallback
    ) -> Iterator[Match | Rejection]:
        rule, data = self._rules[number], bytes(text)
        if rule.keywords and not _keyword_near(rule, data, 0, len(data)):
            return
        pattern = self._pattern(number)
        for count, match in enumerate(islice(pattern.finditer(data), self._most + 1)):
            if count == self._most:
                overrun(rule.id)
                return
            if ends_in[0] <= match.end() < ends_in[1]:
                yield from _judge(rule, match, 0, data, path)

    def _on_lines(
        self, number: int, text: memoryview | bytes, ends: Sequence[int], path: str
    ) -> Iterator[Match | Rejection]:
        """Run a plugin of detect-secrets on each line that holds a hit."""
        rule, done = self._rules[number], -1
        for end in ends:
            if end > done:
                yield from _judge_line(rule, text, end, path)
                done = _line_end(text, end)

    def _pattern(self, number: int) -> re.Pattern[bytes]:
        if number not in self._patterns:
            self._patterns[number] = re.compile(self._rules[number].pattern.encode())
        return self._patterns[number]

    def _reach(self, number: int) -> tuple[int, int]:
        """Return how far a match reaches before and behind the end of a raw hit, in bytes."""
        if number not in self._reaches:
            rule = self._rules[number]
            searched = name_pattern(rule) or prefilter(rule.pattern)
            self._reaches[number] = searched.back, searched.ahead
        return self._reaches[number]


def _next_match(pattern: re.Pattern[bytes], window: bytes, at: int, stop: int, end: int) -> re.Match[bytes] | None:
    """Return the first match that begins in the half-open range [at, stop). The offset `end` is behind all of them."""
    if end - at <= _ATTEMPT * (stop - at):
        match = pattern.search(window, at, end)
        return match if match and match.start() < stop else None
    # A search would go on to the end.
    return next((match for start in range(at, stop) if (match := pattern.match(window, start))), None)


def _groups(ends: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Yield first and last index of neighbouring sorted ends, at most `gap` apart and _MAX_GROUP in all."""
    first = 0
    for at in range(1, len(ends) + 1):
        if at == len(ends) or ends[at] - ends[at - 1] > gap or ends[at] - ends[first] > _MAX_GROUP:
            yield first, at - 1
            first = at


def _judge(
    rule: Rule, match: re.Match[bytes], low: int, text: memoryview | bytes, path: str
) -> list[Match | Rejection]:
    """Judge each group of a match whose name begins with `secret`, else the whole match."""
    groups: list[str | int] = [name for name in match.re.groupindex if name.startswith("secret") and match[name]]
    outcomes = list[Match | Rejection]()
    for group in groups or [0]:
        outcomes.append(_judge_group(rule, match, group, low, text, path))
        if isinstance(outcomes[-1], Rejection) and outcomes[-1].step == "heuristic" and len(groups) > 1:
            break  # the name before it, which is that of all groups, is far from the others
    return outcomes


def _judge_group(
    rule: Rule, match: re.Match[bytes], group: str | int, low: int, text: memoryview | bytes, path: str
) -> Match | Rejection:
    """Apply the conditions of a rule beyond its pattern to a match in the bytes of `text` from `low` on."""
    start, end = match.start(group) + low, match.end(group) + low
    value = match[group].decode("utf-8", "replace")
    if rule.entropy and entropy(value) < rule.entropy:
        return Rejection(rule, start, end, value, "entropy")
    if rule.random and not looks_random(value):
        return Rejection(rule, start, end, value, "random")
    if rule.keywords and not _keyword_near(rule, text, start, end):
        return Rejection(rule, start, end, value, "keywords")
    if rule.generic:
        line = line_at(text, match.start() + low, end)
        heuristic = rejecting_heuristic(value, line, path)
        if heuristic and not heuristic.guessable:
            return Rejection(rule, start, end, value, "heuristic", heuristic)
        if heuristic:
            confidence = guessable_confidence(value, line, path)
            return Match(rule, start, end, Secret(value, "****"), GUESSABLE, confidence, match.end() - match.start())
    elif is_placeholder(value):
        return Rejection(rule, start, end, value, "placeholder")
    passed = CHECKS[rule.check](value) if rule.check else None
    check = {True: "passed", False: "failed", None: "none"}[passed]
    is_refuted = passed is False or is_sample(value) or (rule.is_token and is_typed(value))
    confidence = Confidence.LOW if is_refuted else rule.confidence
    secret = Secret(value, mask(value, rule))
    return Match(rule, start, end, secret, check, confidence, match.end() - match.start())


def _judge_line(rule: Rule, text: memoryview | bytes, end: int, path: str) -> Iterator[Match | Rejection]:
    low, high = _line_start(text, end), _line_end(text, end)
    raw = bytes(text[low:high])
    line = raw.decode("utf-8", "replace")
    for value in secrets_in_line(rule.id, line, path):
        data = value.encode("utf-8", "replace")
        at = raw.find(data)
        if at < 0:
            continue
        start = low + at
        heuristic = rejecting_heuristic(value, line, path)
        if heuristic:  # a guessable value is a rule's to report
            yield Rejection(rule, start, start + len(data), value, "heuristic", heuristic)
        else:
            secret = Secret(value, mask(value, rule))
            confidence = Confidence.LOW if is_typed(value) or is_sample(value) else rule.confidence
            yield Match(rule, start, start + len(data), secret, "none", confidence)


def _line_start(text: memoryview | bytes, at: int) -> int:
    low = max(0, at - CONTEXT)
    return low + bytes(text[low:at]).rfind(b"\n") + 1


def _line_end(text: memoryview | bytes, at: int) -> int:
    piece = bytes(text[at : at + CONTEXT])
    cut = piece.find(b"\n")
    return at + (len(piece) if cut < 0 else cut)


def line_at(text: memoryview | bytes, start: int, end: int) -> str:
    """Return the line or lines that hold the bytes [start, end), at most CONTEXT on each side."""
    return bytes(text[_line_start(text, start) : _line_end(text, end)]).decode("utf-8", "replace")


def _keyword_near(rule: Rule, text: memoryview | bytes, start: int, end: int) -> bool:
    near, (words, have_letters) = bytes(text[max(0, start - CONTEXT) : end + CONTEXT]), _lowered(rule.keywords)
    if have_letters:
        near = near.lower()
    return any(map(near.__contains__, words))


@lru_cache(1024)
def _lowered(words: tuple[str, ...]) -> tuple[tuple[bytes, ...], bool]:
    """Return words in lower case, and whether they have letters at all: a large text is lowered for nothing else."""
    lowered = tuple(word.lower().encode() for word in words)
    return lowered, any(word != word.swapcase() for word in words)


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
