"""Rules that find a value by the name of its provider: all of them are searched together, in two steps.

Hundreds of rules have one form: names of a provider, a fragment (`past-name` or `past-keyword`), and a value. An
expression for each rule would take most of the time of the search and of the compilation. So the first step finds
assignments of values of at least 16 characters, which are few. The second step searches the text before each assignment
for the names of all providers.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.detect.engines import PatternDatabase
from auditor.detect.fragments import expand
from auditor.detect.hits import CASELESS, NO_RULE, Expression, Hits, kept_in, truncated_rules
from auditor.detect.prefilter import REPEATS, prefilter, width
from auditor.detect.rules import Rule, Ruleset

_PAST_NAME, _PAST_KEYWORD = expand("(?&past-name)"), expand("(?&past-keyword)")
_ASSIGNMENT = expand(r"(?&credential-word)[\w.\-]{0,20}(?&assigned)")
_DIRECT = expand("(?&direct)(?&assigned)")

ASSIGNMENT = NO_RULE
"""Number of the expressions for assignments."""
_LENGTH = 16
"""Bytes of a value that the first step searches. A rule whose values can be shorter keeps its own expression."""
_VALUE = rf"[\w+/-]{{{_LENGTH}}}"
_IN_VALUE = frozenset(byte for byte in range(256) if re.match(rb"[\w+/-]", bytes([byte])))
_TOGETHER = 400
"""Characters of names that share an expression. The engine refuses long expressions; many short ones need memory."""
_NAME = 160
"""Bytes of the longest name."""
_OPTIONAL = 32
"""Bytes of the longest optional end of a name, which the second step leaves out."""
_PAST = _OPTIONAL + width(list(parser.parse(_PAST_NAME.encode()))) + _LENGTH
"""Bytes from the end of a name to the end of an assignment that is its own."""


@dataclass(frozen=True, slots=True)
class ProviderPattern:
    """A pattern of that form: the expression of the names; `direct` where the value may follow a name directly."""

    names: str
    direct: bool


def provider_pattern(rule: Rule) -> ProviderPattern | None:
    """Return the parts of a rule's pattern; None where it has another form, or a value that is too short."""
    for way in (_PAST_NAME, _PAST_KEYWORD):
        names, found, value = rule.pattern.partition(way)
        if found and rule.detector == "rules" and _stands_alone(names, rule.pattern) and _is_long(value):
            return ProviderPattern(names, way == _PAST_NAME)
    return None


def assignment_expressions(patterns: Sequence[ProviderPattern]) -> list[Expression]:
    """Return the expressions of the first step."""
    if not patterns:
        return []
    direct = [f"(?:{pattern.names})" for pattern in patterns if pattern.direct]
    texts = (_ASSIGNMENT, *(f"(?:{names}){_DIRECT}" for names in _joined_names(direct)))
    return [_expression(ASSIGNMENT, text + _VALUE) for text in texts]


def _joined_names(names: Sequence[str]) -> Iterator[str]:
    """Join the names of rules to expressions of some length."""
    joined = ""
    for name in names:
        if joined and len(joined) + len(name) > _TOGETHER:
            yield joined
            joined = ""
        joined += f"|{name}" if joined else name
    if joined:
        yield joined


def name_expressions(patterns: dict[int, ProviderPattern]) -> list[Expression]:
    """Return the expressions of the second step, from the parts of patterns by the number of their rule."""
    return [_expression(number, pattern.names) for number, pattern in patterns.items()]


def provider_patterns(ruleset: Ruleset) -> dict[int, ProviderPattern]:
    """Return the parts of all patterns of that form, by the number of their rule."""
    parts = ((number, provider_pattern(rule)) for number, rule in enumerate(ruleset.rules) if not rule.paths)
    return {number: pattern for number, pattern in parts if pattern}


class ProviderRules:
    """Search for the names of providers before assignments."""

    def __init__(self, names: PatternDatabase, most: int) -> None:
        """`names` are compiled from `name_expressions`; `most` is the limit `raw-hits`."""
        self._names, self._most = names, most

    def hits(self, block: memoryview | bytes, assignments: Hits) -> Hits:
        """Return a raw hit for each assignment with the name of a rule before it, in the order of rules and ends.

        Its end is the last byte of the value that the first step searched. `assignments` are the hits of
        `assignment_expressions`.
        """
        ends = sorted({end for _, end in assignments})
        found: Hits = []
        add = kept_in(found, self._most)
        names = self._name_hits(memoryview(block), ends) if ends else []
        truncated = truncated_rules(names, self._most)
        last = dict[int, int]()
        for rule, name_end in sorted(names):
            if rule not in truncated:
                first = bisect_right(ends, max(name_end, last.get(rule, 0)))
                for end in ends[first : bisect_right(ends, name_end + _PAST)]:
                    add(rule, end)
                    last[rule] = end
        for rule in truncated:  # some of its names are not known
            for end in ends:
                add(rule, end)
        return found

    def _name_hits(self, block: memoryview, ends: Sequence[int]) -> Hits:
        """Return the raw hits of names before assignments, by the offsets of their ends in the block."""
        ranges = list(_joined((max(0, end - _NAME - _PAST), end) for end in ends))
        starts = list(accumulate((end - start + 1 for start, end in ranges), initial=0))
        joined = b"\n".join([block[start:end] for start, end in ranges])
        found: Hits = []
        for rule, end in self._names.scan(joined, self._most):
            at = bisect_left(starts, end) - 1
            found.append((rule, ranges[at][0] + end - starts[at]))
        return found


def _joined(ranges: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join sorted ranges that overlap."""
    low, high = next(ranges)
    for start, end in ranges:
        if start > high:
            yield low, high
            low = start
        high = end
    yield low, high


def _expression(number: int, pattern: str) -> Expression:
    item = prefilter(pattern, bounded=True)
    return Expression(number, item.expression, CASELESS if item.caseless else 0)


def _stands_alone(names: str, pattern: str) -> bool:
    """Tell whether the beginning of a pattern is an expression by itself that the engine can search."""
    try:
        searched = prefilter(names)
    except (re.error, ValueError):
        return False
    whole, own = list(parser.parse(pattern.encode())), width(list(parser.parse(names.encode())))
    is_branch = len(whole) == 1 and whole[0][0] is op.BRANCH
    return not is_branch and own <= _NAME and own - searched.back <= _OPTIONAL


def _is_long(value: str) -> bool:
    """Tell whether all values of a pattern begin with _LENGTH bytes that the first step searches."""
    try:
        return _leading(list(parser.parse(value.encode())))[0] >= _LENGTH
    except re.error:
        return False


def _leading(items: Sequence[Any]) -> tuple[int, bool]:
    """Return the minimum number of leading bytes in _IN_VALUE, and whether every byte of every match is."""
    total = 0
    for kind, value in items:
        count, whole = _leading_of(kind, value)
        total += count
        if not whole:
            return total, False
    return total, True


def _leading_of(kind: Any, value: Any) -> tuple[int, bool]:
    if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
        return 0, True
    if kind is op.LITERAL:
        return (1, True) if value in _IN_VALUE else (0, False)
    if kind is op.IN:
        return (1, True) if all(map(_is_in_value, value)) else (0, False)
    if kind is op.SUBPATTERN:
        return _leading(value[3])
    if kind is op.ATOMIC_GROUP:
        return _leading(value)
    if kind is op.BRANCH:
        branches = [_leading(branch) for branch in value[1]]
        return min(count for count, _ in branches), all(whole for _, whole in branches)
    if kind in REPEATS:
        count, whole = _leading(value[2])
        return (value[0] * count, True) if whole else (min(value[0], 1) * count, False)
    return 0, False


def _is_in_value(member: tuple[Any, Any]) -> bool:
    kind, value = member
    if kind is op.LITERAL:
        return value in _IN_VALUE
    if kind is op.RANGE:
        return all(byte in _IN_VALUE for byte in range(value[0], value[1] + 1))
    return kind is op.CATEGORY and value in (op.CATEGORY_WORD, op.CATEGORY_DIGIT)
