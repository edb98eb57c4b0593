"""Which short texts tell where an expression may match: one of them stands in every match, near its beginning.

Read from the parse tree of Python's own `re`. Texts are in lower case, whatever the expression says, so that one search
serves all: what they find is a place to try the expression at.
"""

from __future__ import annotations

import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_lowercase
from typing import Any

from auditor.detect.prefilter import REPEATS, least, width

MAX_LENGTH = 8
_MAX_TEXTS = 256
_MAX_CHOICES = 4
_NOTHING = frozenset({b""})
_BLANK, _LETTER, _OTHER, _WORD = 1 / 8, 1 / 24, 1 / 64, 1 / 4096
"""About how often a byte stands in text, and a word, whose letters go together."""


@dataclass(frozen=True, slots=True)
class Clue:
    """One of `texts` stands in every match, `low` to `high` bytes, both included, after its first."""

    texts: frozenset[bytes]
    low: int
    high: int

    @property
    def cost(self) -> float:
        """About how many places there are to try, for each byte of a text."""
        return sum(prod(map(_often, text)) + _WORD for text in self.texts) * (self.high - self.low + 1)


def clue(expression: bytes, flags: int) -> Clue | None:
    """Return the clue that is cheapest to follow, None where there is none."""
    return min(_telling(list(parser.parse(expression, flags)), 0, 0), key=_cost, default=None)


def _cost(clue: Clue) -> float:
    return clue.cost


def _often(byte: int) -> float:
    return _BLANK if byte in b" \t\n" else _LETTER if byte in ascii_lowercase.encode() else _OTHER


def _telling(items: Sequence[Any], low: int, high: int) -> Iterator[Clue]:
    return (one for one in _clues(items, low, high) if b"" not in one.texts)


def _clues(items: Sequence[Any], low: int, high: int) -> Iterator[Clue]:
    for at, (kind, value) in enumerate(items):
        yield Clue(_beginnings(items[at:])[0], low, high)
        inner = _inside(kind, value)
        if inner:
            yield from _clues(inner, low, high)
        elif kind is op.BRANCH:
            yield from _of_branches(value[1], low, high)
        low += least([(kind, value)])
        high += width([(kind, value)])


def _inside(kind: Any, value: Any) -> Sequence[Any]:
    """Return the items of a group, or of a repeat that comes at least once."""
    if kind is op.SUBPATTERN:
        return list(value[3])
    if kind is op.ATOMIC_GROUP:
        return list(value)
    return list(value[2]) if kind in REPEATS and value[0] else ()


def _of_branches(branches: Sequence[Any], low: int, high: int) -> Iterator[Clue]:
    best = [min(_telling(list(branch), low, high), key=_cost, default=None) for branch in branches]
    found = [one for one in best if one]
    if len(found) == len(best):
        texts = frozenset[bytes]().union(*(one.texts for one in found))
        yield Clue(texts, min(one.low for one in found), max(one.high for one in found))


def _beginnings(items: Sequence[Any]) -> tuple[frozenset[bytes], bool]:
    """Return texts of which one begins each match of some items, and whether they are whole matches."""
    texts = _NOTHING
    for kind, value in items:
        choices, whole = _choices(kind, value)
        longer = frozenset(text + choice for text in texts for choice in choices)
        if len(longer) > _MAX_TEXTS:
            return texts, False
        texts = frozenset(text[:MAX_LENGTH] for text in longer)
        if not whole or texts != longer:
            return texts, False
    return texts, True


def _choices(kind: Any, value: Any) -> tuple[frozenset[bytes], bool]:
    if kind is op.LITERAL:
        return frozenset({bytes([value]).lower()}), True
    if kind is op.IN:
        return _members(value)
    if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
        return _NOTHING, True
    if kind is op.BRANCH:
        parts = [_beginnings(branch) for branch in value[1]]
        return frozenset[bytes]().union(*(texts for texts, _ in parts)), all(whole for _, whole in parts)
    if kind in REPEATS:
        texts, whole = _beginnings(list(value[2]) * max(1, min(value[0], MAX_LENGTH)))
        if value[0] == 0:
            return (texts | _NOTHING, True) if value[1] == 1 and whole else (_NOTHING, False)
        return texts, whole and value[0] == value[1] <= MAX_LENGTH
    inner = _inside(kind, value)
    return _beginnings(inner) if inner else (_NOTHING, kind is op.SUBPATTERN)


def _members(members: Sequence[Any]) -> tuple[frozenset[bytes], bool]:
    """Return the characters of a small set."""
    found: set[bytes] = set()
    for kind, value in members:
        if kind is op.LITERAL:
            found.add(bytes([value]).lower())
        elif kind is op.RANGE and value[1] - value[0] < _MAX_CHOICES:
            found.update(bytes([code]).lower() for code in range(value[0], value[1] + 1))
        else:
            return _NOTHING, False
    return (frozenset(found), True) if len(found) <= _MAX_CHOICES else (_NOTHING, False)
