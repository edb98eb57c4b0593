"""Confirmation of raw hits: Python's `re` on a small window, then entropy, keywords, plausibility, offline check."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from auditor.core.finding import GUESSABLE
from auditor.core.limits import DEFAULT, Limits
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.judgement import judge, judge_line, keyword_near, line_end, lowered_words
from auditor.detect.matches import Match, Rejection, most_specific
from auditor.detect.name_rules import name_pattern
from auditor.detect.prefilter import prefilter
from auditor.detect.rules import Ruleset

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


class Confirmer:
    """Confirms raw hits of one ruleset. A pattern is compiled when its rule hits for the first time."""

    def __init__(
        self, ruleset: Ruleset, limits: Limits = DEFAULT, reaches: Mapping[int, tuple[int, int]] | None = None
    ) -> None:
        """`reaches` are those of rules whose reach is known: see `CompiledRules`."""
        self._most = limits.raw_hits
        self._rules = ruleset.rules
        self._patterns: dict[int, re.Pattern[bytes]] = {}
        self._reaches = dict(reaches or {})

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
            and not any(map(lowered.__contains__, lowered_words(rule.keywords)[0]))
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
                    outcomes = judge(rule, match, low, text, path)
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
        if rule.keywords and not keyword_near(rule, data, 0, len(data)):
            return
        pattern = self._pattern(number)
        for count, match in enumerate(islice(pattern.finditer(data), self._most + 1)):
            if count == self._most:
                overrun(rule.id)
                return
            if ends_in[0] <= match.end() < ends_in[1]:
                yield from judge(rule, match, 0, data, path)

    def _on_lines(
        self, number: int, text: memoryview | bytes, ends: Sequence[int], path: str
    ) -> Iterator[Match | Rejection]:
        """Run a plugin of detect-secrets on each line that holds a hit."""
        rule, done = self._rules[number], -1
        for end in ends:
            if end > done:
                yield from judge_line(rule, text, end, path)
                done = line_end(text, end)

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
