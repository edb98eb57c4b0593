"""From raw hits to matches: Python's `re` on a small window, then entropy, keywords and the offline check."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from auditor.core.finding import Confidence
from auditor.core.limits import DEFAULT, Limits
from auditor.core.secret import Secret
from auditor.detect.detect_secrets_plugins import load_plugins, secrets_in_line
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.heuristics.placeholder import is_placeholder
from auditor.detect.heuristics.plausibility import entropy, implausible
from auditor.detect.prefilter import prefilter
from auditor.detect.rules import CHECKS, Rule, Ruleset

CONTEXT = 4096
"""Bytes on each side of a match within which one of the rule's keywords must stand."""

EDGE = 256
"""Bytes beyond a window that its match may look at."""

_TOGETHER = 16 << 10  # bytes over which hits of one rule are looked at together

TruncationCallback = Callable[[str], None]
"""Told the id of a rule that hits so often that not all is looked at."""


def ignore_truncation(_: str) -> None:
    """Be an TruncationCallback to which it does not matter."""


def prepare() -> None:
    """Import detect-secrets in this thread: worker threads then find it imported.

    It is slow to import, and an audit whose layers are all cached does not need it.
    """
    load_plugins()


@dataclass(frozen=True, slots=True)
class Match:
    """A confirmed secret at the bytes [start, end) of the text it was found in."""

    rule: Rule
    start: int
    end: int
    secret: Secret
    check: str
    confidence: Confidence
    """The rule's own, or low where the offline check failed."""
    width: int = 0
    """Bytes of all that the rule matched, the words around the secret included."""


class Confirmer:
    """Confirms raw hits of one ruleset. Patterns are compiled when they first hit."""

    def __init__(self, ruleset: Ruleset, limits: Limits = DEFAULT) -> None:
        self._most = limits.raw_hits
        self._rules = ruleset.rules
        self._patterns: dict[int, tuple[re.Pattern[bytes], int, int]] = {}

    def confirm(
        self,
        text: memoryview | bytes,
        hits: Sequence[tuple[int, int]],
        path: str,
        path_rules: Sequence[int] = (),
        ends_in: tuple[int, int] = (0, sys.maxsize),
        overrun: TruncationCallback = ignore_truncation,
    ) -> list[Match]:
        """Return the matches that raw hits (rule number, end) lead to, of two that overlap the more specific.

        `text` is one file, or the part of it at hand; `path` is its absolute path, of a member its last one;
        `path_rules` are the rules that look at this file because of its path; of those only matches that end in the
        half-open range `ends_in` count, for a file that comes in pieces.
        """
        found: list[Match] = []
        ends: dict[int, list[int]] = {}
        for number, end in hits:
            ends.setdefault(number, []).append(end)
        # A guess in test data or documentation of a package is implausible whatever it looks like.
        guess = file_class(path) is not FileClass.THIRD_PARTY_TESTS
        for number, own in sorted(ends.items(), reverse=True):  # not by who came first: of equals the later id decides
            if guess or not self._rules[number].generic:
                found += self._of_rule(number, text, own, path)
        for number in path_rules:
            if guess or not self._rules[number].generic:
                found += self._all_of_rule(number, text, path, ends_in, overrun)
        return most_specific(found)

    def _all_of_rule(
        self, number: int, text: memoryview | bytes, path: str, ends_in: tuple[int, int], overrun: TruncationCallback
    ) -> Iterator[Match]:
        """Look for a rule in the whole text: for the few files whose path calls for it."""
        rule, (pattern, _, _) = self._rules[number], self._compiled(number)
        if rule.keywords and not _keyword_near(rule, text, 0, len(text)):
            return  # nor would one stand near a match
        most = self._most
        for count, match in enumerate(islice(pattern.finditer(bytes(text)), most + 1)):
            if count == most:
                overrun(rule.id)
                return
            found = _judged(rule, match, 0, text, path) if ends_in[0] <= match.end() < ends_in[1] else None
            if found:
                yield found

    def _of_rule(self, number: int, text: memoryview | bytes, ends: Sequence[int], path: str) -> Iterator[Match]:
        rule, done = self._rules[number], -1
        if rule.detector == "rules":
            yield from self._by_pattern(number, text, sorted(ends), path)
            return
        for end in sorted(ends):
            if end > done:
                yield from _by_plugin(rule, text, end, path)
                done = _line_end(text, end)

    def _by_pattern(self, number: int, text: memoryview | bytes, ends: Sequence[int], path: str) -> Iterator[Match]:
        """Yield the matches that reach to or over one of some sorted ends.

        Where ends are so close that what is to be read for one holds the next, they are looked at together: a text may
        be made so that a pattern hits at every byte and never matches.
        """
        pattern, back, ahead = self._compiled(number)
        rule, done = self._rules[number], -1
        for first, last in _together(ends, back + ahead + 2 * EDGE):
            low, high = max(0, ends[first] - back - EDGE), min(len(text), ends[last] + ahead + EDGE)
            for match in pattern.finditer(bytes(text[low:high])):
                start, end = match.start() + low, match.end() + low
                if start >= ends[last]:
                    break
                hit = bisect_right(ends, start)
                if end <= done or hit == len(ends) or ends[hit] > end:
                    continue
                found = _judged(rule, match, low, text, path)
                if found:
                    done = found.end
                    yield found

    def _compiled(self, number: int) -> tuple[re.Pattern[bytes], int, int]:
        """Return a rule's pattern and how far it reaches back and ahead of a raw hit's end, in bytes."""
        if number not in self._patterns:
            pattern = self._rules[number].pattern
            reach = prefilter(pattern)
            self._patterns[number] = re.compile(pattern.encode()), reach.back, reach.ahead
        return self._patterns[number]


def _together(ends: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number of sorted ends that lie close to one another, and not too far in all."""
    first = 0
    for at in range(1, len(ends) + 1):
        if at == len(ends) or ends[at] - ends[at - 1] > gap or ends[at] - ends[first] > _TOGETHER:
            yield first, at - 1
            first = at


def _judged(rule: Rule, match: re.Match[bytes], low: int, text: memoryview | bytes, path: str) -> Match | None:
    """Judge a match in the bytes of `text` from `low` on."""
    group = "secret" if "secret" in match.re.groupindex and match["secret"] is not None else 0
    start, end = match.span(group)
    found = judge(rule, match[group], start + low, end + low, text, path)
    return replace(found, width=match.end() - match.start()) if found else None


def judge(rule: Rule, raw: bytes, start: int, end: int, text: memoryview | bytes, path: str) -> Match | None:
    """Apply what a rule asks beyond its pattern; None where the match is no secret."""
    secret = raw.decode("utf-8", "replace")
    if rule.entropy and entropy(secret) < rule.entropy:
        return None
    if rule.keywords and not _keyword_near(rule, text, start, end):
        return None
    if rule.generic:
        if implausible(secret, line_at(text, start, end), path):
            return None
    elif is_placeholder(secret):
        return None
    passed = CHECKS[rule.check](secret) if rule.check else None
    check = {True: "passed", False: "failed", None: "none"}[passed]
    confidence = Confidence.LOW if passed is False else rule.confidence
    return Match(rule, start, end, Secret(secret, mask(secret, rule)), check, confidence)


def _by_plugin(rule: Rule, text: memoryview | bytes, end: int, path: str) -> Iterator[Match]:
    low, high = _line_start(text, end), _line_end(text, end)
    raw = bytes(text[low:high])
    line = raw.decode("utf-8", "replace")
    for secret in secrets_in_line(rule.id, line, path):
        at = raw.find(secret.encode("utf-8", "replace"))
        if at >= 0 and not implausible(secret, line, path):
            yield Match(
                rule,
                low + at,
                low + at + len(secret.encode("utf-8", "replace")),
                Secret(secret, mask(secret, rule)),
                "none",
                rule.confidence,
            )


def _line_start(text: memoryview | bytes, at: int) -> int:
    low = max(0, at - CONTEXT)
    return low + bytes(text[low:at]).rfind(b"\n") + 1


def _line_end(text: memoryview | bytes, at: int) -> int:
    piece = bytes(text[at : at + CONTEXT])
    cut = piece.find(b"\n")
    return at + (len(piece) if cut < 0 else cut)


def line_at(text: memoryview | bytes, start: int, end: int) -> str:
    """Return the line, or lines, in which the bytes [start, end) stand, of a very long one what is near."""
    return bytes(text[_line_start(text, start) : _line_end(text, end)]).decode("utf-8", "replace")


def _keyword_near(rule: Rule, text: memoryview | bytes, start: int, end: int) -> bool:
    near = bytes(text[max(0, start - CONTEXT) : end + CONTEXT]).lower()
    return any(map(near.__contains__, _lowered(rule.keywords)))


@lru_cache(1024)
def _lowered(words: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(word.lower().encode() for word in words)


def mask(secret: str, rule: Rule) -> str:
    """Show a provider's prefix and the last four characters, of anything else at most two characters."""
    if secret.startswith("-----BEGIN"):
        return secret[: secret.find("-----", len("-----BEGIN")) + 5][:60] + "****"
    prefix = max((word for word in rule.keywords if secret.startswith(word)), key=len, default="")
    hidden = len(secret) - len(prefix)
    if prefix and not rule.generic and hidden >= 16:
        return f"{prefix}****{secret[-4:]}"
    return f"{secret[:2]}****" if len(secret) >= 8 else "****"


def most_specific(found: Sequence[Match]) -> list[Match]:
    """Of matches that overlap keep the most specific one; the result is in the order of the text."""
    kept: list[Match] = []  # in the order of the text, none overlaps another
    for item in sorted(found, key=_weight, reverse=True):
        at = bisect_right(kept, item.start, key=_start)
        if (at == 0 or kept[at - 1].end <= item.start) and (at == len(kept) or item.end <= kept[at].start):
            kept.insert(at, item)
    return kept


def _start(found: Match) -> int:
    return found.start


def _weight(found: Match) -> tuple[object, ...]:
    """A guess that its check refutes gives way to any other match; a token that it refutes stays, as a near miss.

    Of equals the one decides that knows more of what stands around the secret.
    """
    refuted = found.rule.generic and found.check == "failed"
    return not refuted, found.rule.specificity, found.check == "passed", found.end - found.start, found.width
