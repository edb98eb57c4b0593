"""Rules that find a value behind the name of a secret: all of them are searched together, in two steps.

The rules have one form: names of secrets (the fragments `password-name`, `token-name`, `key-name`, `long-name`), and a
tail, which leads from the name to the value. An expression for each rule would search the same names again. So the
first step finds the ends of all names. The second step searches the text behind each name for the tails of all rules.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from auditor.core.dataclass import dataclass
from auditor.detect.engines import PatternDatabase
from auditor.detect.fragments import expand
from auditor.detect.hits import CASELESS, NO_RULE, Expression, Hits, kept_in
from auditor.detect.prefilter import MAX_BACK, Prefilter, least, prefilter, width
from auditor.detect.rules import Rule, Ruleset

NAMES = NO_RULE + 0x10
"""Number of no kind of name. The numbers of expressions for name ends are this one and a bit for the kind."""
_KINDS = ("password-name", "token-name", "key-name", "long-name")
"""Fragments for the names of secrets. A set of kinds is an integer: bit `n` stands for the fragment with index `n`."""
_COMBINATIONS = {
    expand(pattern): kinds
    for pattern, kinds in (
        ("(?:(?&secret-name)|(?&long-name))", 0b1111),
        ("(?&secret-name)", 0b0111),
        ("(?:(?&key-name)|(?&long-name))", 0b1100),
        ("(?:(?&token-name)|(?&key-name))", 0b0110),
        ("(?&password-name)", 0b0001),
        ("(?&token-name)", 0b0010),
    )
}
"""Kinds of names by the beginning of a pattern; a pattern that contains another comes before it."""

_MARKS = tuple(bytes((0, 0xFF, 0, 0xC0 + kinds)) for kinds in range(1 << len(_KINDS)))
"""Bytes before the text behind a name in the second step, by the kinds of the name."""
_MARK_SIZE = 4
_TAIL = 768
"""Bytes behind a name that the second step searches. A rule whose tail can be longer keeps its own expression."""
_LEAST = 4
"""Bytes of the shortest tail. A rule whose tail can be shorter keeps its own expression."""
_JOINED = 128 << 10
"""Bytes of the texts behind names that are searched in one call. A tail may hit at many bytes, which need memory."""


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern of names and a tail: the expression of the tail for the second step.

    A match begins at most `back` bytes before the end of its name, and ends at most `ahead` bytes behind it.
    """

    tail: Prefilter
    back: int
    ahead: int


def name_pattern(rule: Rule) -> NamePattern | None:
    """Return the parts of a built-in rule's pattern; None where it has another form.

    A rule of the user keeps its own expression, so that its change does not make all these rules compile again.
    """
    if not rule.builtin or rule.paths or not rule.generic:
        return None
    for names, kinds in _COMBINATIONS.items():
        lead, found, tail = rule.pattern.partition(names)
        if found:
            return _parts(lead, names, kinds, tail, rule.pattern)
    return None


def name_patterns(ruleset: Ruleset) -> dict[int, NamePattern]:
    """Return the parts of all patterns of that form, by the number of their rule."""
    parts = ((number, name_pattern(rule)) for number, rule in enumerate(ruleset.rules))
    return {number: pattern for number, pattern in parts if pattern}


def name_end_expressions(patterns: dict[int, NamePattern]) -> list[Expression]:
    """Return the expressions of the first step, from the parts of patterns by the number of their rule."""
    names = [prefilter(expand(f"(?i)(?&{kind})[^A-Za-z0-9_]")) for kind in _KINDS] if patterns else []
    return [Expression(NAMES + (1 << at), name.expression, CASELESS) for at, name in enumerate(names)]


def tail_expressions(patterns: dict[int, NamePattern]) -> list[Expression]:
    """Return the expressions of the second step, from the parts of patterns by the number of their rule."""
    return [
        Expression(number, one.tail.expression, CASELESS if one.tail.caseless else 0, one.back, one.ahead)
        for number, one in patterns.items()
    ]


class NameRules:
    """Search for the tails of rules behind the ends of names."""

    def __init__(self, tails: PatternDatabase, most: int) -> None:
        """`tails` are compiled from `tail_expressions`; `most` is the limit `raw-hits`."""
        self._tails, self._most = tails, most

    def hits(self, block: memoryview | bytes, name_hits: Hits) -> Hits:
        """Return a raw hit for each name with the tail of a rule behind it, in the order of the names.

        Its end is the end of the name. `name_hits` are the hits of `name_end_expressions`.
        """
        found: Hits = []
        add = kept_in(found, self._most)
        last = dict[int, int]()
        for ends, text in _texts(memoryview(block), name_hits):
            hits = self._tails.scan(text, len(text))
            starts = list(accumulate(_text_size(end, block) for end in ends)) if hits else []
            for rule, at in hits:
                name_end = ends[bisect_left(starts, at)]
                if last.get(rule) != name_end:
                    add(rule, name_end)
                    last[rule] = name_end
        return found


def _texts(block: memoryview, name_hits: Hits) -> Iterator[tuple[Sequence[int], bytes]]:
    """Yield the ends of names, and the texts behind them, joined."""
    kinds = dict[int, int]()
    for number, end in name_hits:
        kinds[end - 1] = kinds.get(end - 1, 0) | number - NAMES
    ends, count = list(kinds), _JOINED // _TAIL
    for at in range(0, len(ends), count):
        some = ends[at : at + count]
        yield some, b"".join([part for end in some for part in (_MARKS[kinds[end]], block[end : end + _TAIL])])


def _text_size(name_end: int, block: memoryview | bytes) -> int:
    """Return the bytes of the text behind a name, with its mark."""
    return _MARK_SIZE + min(_TAIL, len(block) - name_end)


def _parts(lead: str, names: str, kinds: int, tail: str, pattern: str) -> NamePattern | None:
    """Return the parts of a pattern; None where it is an alternative, or its tail is too short or too long."""
    whole = parser.parse(pattern.encode())
    flags = whole.state.flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE)
    try:
        before, behind = parser.parse(lead.encode()), parser.parse(tail.encode(), flags)
    except re.error:  # the names are part of a group
        return None
    marked = prefilter(_mark_expression(kinds) + tail, flags)
    too_short = least(list(behind)) < _LEAST
    if too_short or marked.back > _TAIL or (len(whole) == 1 and whole[0][0] is op.BRANCH):
        return None
    back = width(list(before)) + width(list(parser.parse(names.encode())))
    return NamePattern(marked, min(back, MAX_BACK), width(list(behind)))


def _mark_expression(kinds: int) -> str:
    """Return an expression for the marks of names that have at least one of some kinds."""
    *begin, _ = _MARKS[0]
    accepted = [f"\\x{mark[-1]:02x}" for one, mark in enumerate(_MARKS) if one & kinds]
    return "".join(f"\\x{byte:02x}" for byte in begin) + f"[{''.join(accepted)}]"
