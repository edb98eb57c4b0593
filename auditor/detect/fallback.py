"""Expressions searched for in Python alone, where there is no Vectorscan for a machine: the same hits, more slowly.

One regular expression finds the clues of all expressions (literals.py); at each, the expressions that own it are tried.
Of the matches that begin at one place the first is a hit, where Vectorscan tells of every end: both lie within the
bounds in which a match is confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from auditor.detect.hits import CASELESS, MULTILINE, Hits, Row, kept_in
from auditor.detect.literals import MAX_LENGTH, Clue, clue
from auditor.detect.prefilter import MAX_BACK, width_of

MADE_BY = None
_OWNERS = -1
"""The key of a node of the tree of clues that holds who owns the text up to there; the others are bytes."""


class _Expression:
    """One expression, compiled when it is tried for the first time."""

    def __init__(self, row: Row) -> None:
        self.rule, self._text, flags = row
        self._flags = (re.IGNORECASE if flags & CASELESS else 0) | (re.MULTILINE if flags & MULTILINE else 0)
        self._by_line = bool(flags & MULTILINE)

    @cached_property
    def clue(self) -> Clue:
        """Where it may match."""
        return clue(self._text, self._flags)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        return re.compile(self._text, self._flags)

    @cached_property
    def _width(self) -> int:
        return min(width_of(self._text, self._flags), MAX_BACK)

    def ends(self, block: bytes, at: int) -> Iterable[int]:
        """Yield where matches end whose clue stands at `at`."""
        if self._by_line:
            start, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at)
            first, last, end = start, start, len(block) if end < 0 else end
        else:
            first, last = max(at - self.clue.high, 0), at - self.clue.low
            end = last + self._width + 1  # what comes after decides whether a word ends there
        while first <= last and (match := self._found(block, first, last, end)):
            yield match.end()
            first = match.start() + 1

    def _found(self, block: bytes, first: int, last: int, end: int) -> re.Match[bytes] | None:
        """Return the first match that begins from `first` to `last`, and ends at `end` at the latest."""
        if first == last:
            return self._pattern.match(block, first, end)
        match = self._pattern.search(block, first, end)
        return match if match and match.start() <= last else None


class Pass:
    """What vectorscan.Pass is. It holds the interpreter lock while it scans."""

    def __init__(self, expressions: Sequence[_Expression]) -> None:
        self._tree: dict[int, Any] = {}
        for expression in expressions:
            for text in expression.clue.texts:
                node = self._tree
                for byte in text:
                    node = node.setdefault(byte, {})
                node.setdefault(_OWNERS, []).append(expression)
        self._places = re.compile(b"|".join(_begins(self._tree)) or b"(?!)")

    @classmethod
    def compiled(cls, rows: Sequence[Row]) -> Pass:
        """Take expressions apart. Raises ValueError where one has no text to look for."""
        return cls([_Expression(row) for row in rows])

    def scan(self, block: memoryview | bytes) -> Hits:
        """Return the hits in a block."""
        data = bytes(block)
        folded = data.lower()
        hits = {
            (end, expression.rule)
            for place in self._places.finditer(folded)
            for expression in self._owners(folded, place.start())
            for end in expression.ends(data, place.start())
        }
        found: Hits = []
        add = kept_in(found)
        for end, rule in sorted(hits):
            add(rule, end)
        return found

    def dumped(self) -> bytes:
        """Return nothing: it is quicker made than read."""
        return b""

    def _owners(self, folded: bytes, at: int) -> Iterable[_Expression]:
        """Yield the expressions of which a clue stands at `at`."""
        node = self._tree
        for byte in folded[at : at + MAX_LENGTH]:
            if byte not in node:
                return
            node = node[byte]
            yield from node.get(_OWNERS, ())


def loaded(data: bytes) -> list[Pass]:  # noqa: ARG001 - as vectorscan.loaded
    """Return no passes: nothing is kept of them."""
    return []


def _begins(tree: dict[int, Any]) -> Iterable[bytes]:
    """Yield, for each first byte of a clue, what finds it where the rest of a clue follows; it takes one byte."""
    for byte, node in tree.items():
        rest = _rest(node)
        yield re.escape(bytes([byte])) + (b"(?=" + rest + b")" if rest else b"")


def _rest(node: dict[int, Any]) -> bytes:
    """Return an expression for the ends of the shortest clues below a node."""
    if _OWNERS in node:
        return b""
    return b"|".join(re.escape(bytes([byte])) + _grouped(_rest(child)) for byte, child in node.items())


def _grouped(expression: bytes) -> bytes:
    return b"(?:" + expression + b")" if expression else b""
