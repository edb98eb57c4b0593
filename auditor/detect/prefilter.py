"""Prefilter: the expression that the matching engine searches on behalf of a rule.

The engine searches raw blocks of a layer, whose edges are not those of files, and reports each end of each match. The
prefilter matches a superset of the pattern. It is emitted from the parse tree of Python's `re`: without anchors and
lookarounds, with repeats at the edges cut to their minimum, and ended by a long wide gap. `re` confirms its hits on a
small window.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Sequence
from typing import Any

from auditor.core.dataclass import dataclass

MAX_REACH = 32 << 10
"""Bytes of the longest match that is confirmed."""

MAX_BACK = 4 << 10
"""Bytes of the longest part of a match that the engine sees; longer gaps end the expression."""

MIN_LITERAL = 2
"""Bytes of a literal by which the engine finds a match. Without one it tries the expression at every byte."""

_WIDE_GAP = 64
_ENDLESS = 512
_FEW = 3
"""Repeats of a narrow class beyond this count are not counted by the engine: each count would be a state of its own."""
_MANY = 128
"""Repeats of a narrow class between limits further apart are not counted either: to compile them would take seconds."""
_NARROW = 80
"""Members of the largest class that counts as narrow."""
_SELECTIVE = 6  # characters before a gap that are selective enough without the rest
_SHORT, _LONG = 3, 4
"""Items before a literal of at least _LONG characters are not searched if they hold none of at least _SHORT."""
_CATEGORIES = {
    op.CATEGORY_DIGIT: rb"0-9",
    op.CATEGORY_SPACE: rb"\x09-\x0d\x20",
    op.CATEGORY_WORD: rb"A-Za-z0-9_",
}
_MEMBERS = {op.CATEGORY_DIGIT: 10, op.CATEGORY_SPACE: 6, op.CATEGORY_WORD: 63}
_NOT_CATEGORIES = {
    op.CATEGORY_NOT_DIGIT: rb"\x00-/:-\xff",
    op.CATEGORY_NOT_SPACE: rb"\x00-\x08\x0e-\x1f\x21-\xff",
    op.CATEGORY_NOT_WORD: rb"\x00-/:-@\[-\^`\{-\xff",
}
REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


@dataclass(frozen=True, slots=True)
class Prefilter:
    """Expression for the engine. A match lies within `back` bytes before and `ahead` bytes behind the end of a hit.

    `literal` is the length of the longest literal in every match: the shorter, the slower the search.
    """

    expression: bytes
    caseless: bool
    back: int
    ahead: int
    literal: int


def prefilter(pattern: str, flags: int = 0, *, bounded: bool = False) -> Prefilter:
    """Derive the prefilter of a pattern. Raises ValueError where nothing selective is left.

    `bounded` has the engine check the byte before a match, where the pattern begins with a negative lookbehind. The
    search for short names is faster with it. It has no effect on a pattern without a literal of two bytes, which the
    engine tries at every byte: there the check costs more than it saves.
    """
    tree = parser.parse(pattern.encode(), flags)
    items = _trimmed_front(list(tree))
    caseless = bool(tree.state.flags & re.IGNORECASE)
    literal = _literal(items)
    emitter = _Emitter(bool(tree.state.flags & re.DOTALL), bounded and literal >= MIN_LITERAL)
    expression, seen = emitter.tail(items, leads=True)
    if not expression:
        raise ValueError("the pattern has no beginning that the engine can search; begin it with literal text")
    reach, front = width(list(tree)), width(list(tree)[: len(tree) - len(items)])
    return Prefilter(expression, caseless, min(front + seen, MAX_BACK), min(reach, MAX_REACH), literal)


def least(items: Sequence[Any]) -> int:
    """Return the minimum length of a match of some items, in bytes."""
    total = 0
    for kind, value in items:
        if kind in REPEATS:
            total += value[0] * least(value[2])
        elif kind is op.SUBPATTERN:
            total += least(value[3])
        elif kind is op.ATOMIC_GROUP:
            total += least(value)
        elif kind is op.BRANCH:
            total += min(least(branch) for branch in value[1])
        elif kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
            total += 1
    return total


def _reach(repeat: Any) -> int:
    """Return the longest gap that a repeat may leave, in bytes; an optional item or fixed count leaves none."""
    low, high, inner = int(repeat[0]), int(repeat[1]), repeat[2]
    return high if high <= 1 or low == high else min(high, _ENDLESS) * width(inner)


def _is_narrow(items: Sequence[Any]) -> bool:
    """Tell whether some items are one class of few bytes, such as blanks or word characters."""
    if len(items) != 1 or items[0][0] is not op.IN or items[0][1][0][0] is op.NEGATE:
        return False
    return sum(_members(kind, value) for kind, value in items[0][1]) <= _NARROW


def _members(kind: Any, value: Any) -> int:
    if kind is op.LITERAL:
        return 1
    return value[1] - value[0] + 1 if kind is op.RANGE else _MEMBERS.get(value, 256)


def _literal(items: Sequence[Any]) -> int:
    """Return the length of the longest run of characters that every match of some items holds."""
    longest = run = 0
    for kind, value in items:
        run = run + 1 if kind is op.LITERAL else 0
        inner = 0
        if kind is op.SUBPATTERN:
            inner = _literal(value[3])
        elif kind is op.ATOMIC_GROUP:
            inner = _literal(value)
        elif kind is op.BRANCH:
            inner = min(_literal(branch) for branch in value[1])
        elif kind in REPEATS and value[0]:
            inner = _literal(value[2])
        longest = max(longest, run, inner)
    return longest


def width(items: Sequence[Any]) -> int:
    """Return the maximum length of a match, in bytes; an unbounded repeat counts as _ENDLESS."""
    total = 0
    for kind, value in items:
        if kind in REPEATS:
            high = max(_ENDLESS, value[0]) if value[1] is op.MAXREPEAT else value[1]
            total += high * width(value[2])
        elif kind is op.SUBPATTERN:
            total += width(value[3])
        elif kind is op.ATOMIC_GROUP:
            total += width(value)
        elif kind is op.BRANCH:
            total += max(width(branch) for branch in value[1])
        elif kind is op.GROUPREF:
            total += _ENDLESS
        elif kind not in (op.AT, op.ASSERT, op.ASSERT_NOT):
            total += 1
    return min(total, MAX_REACH)


def _trimmed_front(items: list[Any]) -> list[Any]:
    """Drop items at the front that are optional, or that select less than a literal behind them."""
    while items and (_is_optional(*items[0]) or (_is_vague(items[0]) and _literal(items[1:]) >= _LONG)):
        items = items[1:]
    return items


def _is_optional(kind: Any, value: Any) -> bool:
    if kind is op.AT:
        return value is not op.AT_BOUNDARY
    return kind in (op.ASSERT, op.ASSERT_NOT) or (kind in REPEATS and value[0] == 0)


def _is_vague(item: Any) -> bool:
    return item[0] is not op.LITERAL and _literal([item]) < _SHORT


class _Emitter:
    def __init__(self, dotall: bool, bounded: bool) -> None:
        self._dot, self._bounded = rb"[\x00-\xff]" if dotall else rb"[^\n]", bounded

    def tail(self, items: Sequence[Any], before: int = 0, *, leads: bool = False) -> tuple[bytes, int]:
        """Emit the sequence at the end of the expression, cut to the common beginning of all matches.

        Returns the expression and the maximum length, in bytes, of the part of a match that it stands for. `before` is
        the minimum number of bytes before it; `leads` where it is the whole expression. A gap that is not cut would hit
        at each of its bytes.
        """
        for at, (kind, value) in enumerate(items):
            wide_gap = (
                kind in REPEATS
                and _reach(value) > _WIDE_GAP
                and self._is_wide(value[2])
                and before + least(items[:at]) >= _SELECTIVE
            )
            if wide_gap or kind in (op.GROUPREF, op.GROUPREF_EXISTS):
                minimum = items[at : at + 1] if wide_gap and value[0] else []
                return self.tail([*items[:at], *self._once(minimum)], before, leads=leads)
        body = list(items)
        while body:
            *front, last = body
            emitted, size = self._last(last, before + least(front), leads=leads and not front)
            if emitted:
                return self._sequence(front, leads=leads) + emitted, width(front) + size
            body = front
        return b"", 0

    @staticmethod
    def _once(items: Sequence[Any]) -> list[Any]:
        return [(op.MAX_REPEAT, (min(value[0], _WIDE_GAP), min(value[0], _WIDE_GAP), value[2])) for _, value in items]

    def _is_wide(self, items: Sequence[Any]) -> bool:
        if len(items) != 1:
            return True
        kind, value = items[0]
        if kind is op.IN:
            return value[0][0] is op.NEGATE or any(v in _NOT_CATEGORIES for _, v in value if not isinstance(v, tuple))
        return kind in (op.ANY, op.NOT_LITERAL, op.BRANCH, op.SUBPATTERN)

    def _last(self, item: Any, before: int, *, leads: bool = False) -> tuple[bytes, int]:
        kind, value = item
        if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return b"", 0
        if kind in REPEATS:
            low, _, inner = value
            if low == 0:
                return b"", 0
            if low == 1:
                return self.tail(inner, before)
            return b"(?:%b){%d}" % (self._sequence(inner), low), low * width(inner)
        if kind is op.SUBPATTERN:
            expression, size = self.tail(value[3], before, leads=leads)
            return self._scoped(value, expression), size
        if kind is op.ATOMIC_GROUP:
            return self.tail(value, before)
        if kind is op.BRANCH:
            branches = [self.tail(branch, before, leads=leads) for branch in value[1]]
            if not all(expression for expression, _ in branches):
                return b"", 0
            return b"(?:" + b"|".join(expression for expression, _ in branches) + b")", max(
                size for _, size in branches
            )
        return self._item(item), 1

    def _sequence(self, items: Sequence[Any], *, leads: bool = False) -> bytes:
        """Emit a sequence; `leads` where nothing of a match is before it."""
        text = b""
        for item in items:
            text += self._item(item, leads=leads and not text)
        return text

    def _item(self, item: Any, *, leads: bool = False) -> bytes:
        kind, value = item
        if kind is op.LITERAL:
            return b"\\x%02x" % value
        if kind is op.NOT_LITERAL:
            return b"[^\\x%02x]" % value
        if kind is op.ANY:
            return self._dot
        if kind is op.IN:
            return self._set(value)
        if kind is op.BRANCH:
            return b"(?:" + b"|".join(self._sequence(branch, leads=leads) for branch in value[1]) + b")"
        if kind is op.SUBPATTERN:
            return self._scoped(value, b"(?:" + self._sequence(value[3], leads=leads) + b")")
        if kind is op.ATOMIC_GROUP:
            return b"(?:" + self._sequence(value) + b")"
        if kind in REPEATS:
            low, high, inner = value
            narrow = _is_narrow(inner)
            endless = high is op.MAXREPEAT or (narrow and (high - low > _MANY or (low <= 1 and high > _FEW)))
            count = b"{%d,}" % low if endless else b"{%d,%d}" % (low, high)
            return b"(?:" + self._sequence(inner) + b")" + count
        if kind is op.AT and value in (op.AT_BOUNDARY, op.AT_NON_BOUNDARY):
            return rb"\b" if value is op.AT_BOUNDARY else rb"\B"
        if leads and self._bounded and kind is op.ASSERT_NOT and value[0] < 0:
            return self._byte_before(value[1])
        if leads and kind is op.ASSERT and value[0] < 0:
            return self._sequence(value[1])  # the text before a match
        return b""  # anchors and lookarounds: dropping them widens the expression

    def _byte_before(self, items: Sequence[Any]) -> bytes:
        """Emit the start of the text, or a byte that is not in the class of a negative lookbehind.

        A line break or a zero byte always passes: one of them stands between two texts that are searched together.
        """
        if len(items) != 1 or items[0][0] is not op.IN or items[0][1][0][0] is op.NEGATE:
            return b""
        return rb"(?:^|[\x00\n]|" + self._set([(op.NEGATE, None), *items[0][1]]) + b")"

    @staticmethod
    def _scoped(value: Any, body: bytes) -> bytes:
        if not body:
            return b""
        added, removed = value[1], value[2]
        switch = (b"i" if added & re.IGNORECASE else b"") + (b"-i" if removed & re.IGNORECASE else b"")
        return b"(?%b:%b)" % (switch, body)

    def _set(self, members: Sequence[Any]) -> bytes:
        text = b""
        for kind, value in members:
            if kind is op.NEGATE:
                text += b"^"
            elif kind is op.LITERAL:
                text += b"\\x%02x" % value
            elif kind is op.RANGE:
                text += b"\\x%02x-\\x%02x" % value
            else:
                text += _CATEGORIES.get(value) or _NOT_CATEGORIES[value]
        return b"[" + text + b"]"
