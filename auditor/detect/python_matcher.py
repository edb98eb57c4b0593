"""Expressions searched for in Python alone, where there is no Vectorscan for a machine: the same hits, more slowly.

One regular expression finds the clues of all expressions (literals.py); around each, the expressions that own it are
tried, and at no byte twice. Of the matches that begin at one byte the shortest is a hit. Vectorscan tells of every end;
that one is enough, since it lies in all that `re` may confirm from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from auditor.detect.detect_secrets_plugins import MAX_BLANKS
from auditor.detect.hits import CASELESS, MULTILINE, Hits, Row, kept_in
from auditor.detect.literals import MAX_LENGTH, Clue, clue
from auditor.detect.prefilter import MAX_BACK, width_of

MADE_BY = None
_ENDLESS_BLANKS = re.compile(rb"(\[\\x09-\\x0d\\x20\]|\\x20)\)\{(\d),\}")
_OWNERS = -1
"""The key of a node of the tree of clues that holds who owns the text up to there; the others are bytes."""


class _Expression:
    """One expression, compiled when it is tried for the first time."""

    def __init__(self, row: Row) -> None:
        self.rule, text, flags = row
        # As many as plugins see, whose expressions alone have such repeats: several in a row would backtrack for hours.
        self._text = _ENDLESS_BLANKS.sub(rb"\1){\2,%d}" % MAX_BLANKS, text)
        self._flags = (re.IGNORECASE if flags & CASELESS else 0) | (re.MULTILINE if flags & MULTILINE else 0)
        self._by_line = bool(flags & MULTILINE)

    @cached_property
    def clue(self) -> Clue | None:
        """Where it may match; None: anywhere."""
        return clue(self._text, self._flags)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        return re.compile(self._text, self._flags)

    @cached_property
    def _width(self) -> int:
        return min(width_of(self._text, self._flags), MAX_BACK)

    def starts(self, block: bytes, at: int) -> range:
        """Return where matches may begin whose clue stands at `at`."""
        if self._by_line:
            start = block.rfind(b"\n", 0, at) + 1
            return range(start, start + 1)
        assert self.clue  # noqa: S101 - it stands there
        return range(max(at - self.clue.high, 0), at - self.clue.low + 1)

    def all_starts(self, block: bytes) -> Iterator[int]:
        """Yield where matches begin, without a clue."""
        at = 0
        while match := self._pattern.search(block, at):
            yield match.start()
            at = match.start() + 1

    def end(self, block: bytes, start: int) -> int | None:
        """Return where the shortest match that begins at `start` ends, None where there is none.

        Greedy as the expression is, it gives its longest. No expression looks beyond its match, so that a text may be
        cut to look for a shorter one.
        """
        if self._by_line:
            line = self._pattern.match(block, start, _line_end(block, start))
            return line.end() if line else None
        match = self._pattern.match(block, start, start + self._width)
        if match is None:
            return None
        low, high = start + 1, match.end()
        while low < high:
            middle = (low + high) // 2
            shorter = self._pattern.match(block, start, middle)
            low, high = (low, shorter.end()) if shorter else (middle + 1, high)
        return high


def _line_end(block: bytes, start: int) -> int:
    end = block.find(b"\n", start)
    return len(block) if end < 0 else end


class Pass:
    """What vectorscan.Pass is. It holds the interpreter lock while it scans."""

    def __init__(self, expressions: Sequence[_Expression]) -> None:
        self._clueless = [expression for expression in expressions if not expression.clue]
        self._tree: dict[int, Any] = {}
        for expression in expressions:
            for text in expression.clue.texts if expression.clue else ():
                node = self._tree
                for byte in text:
                    node = node.setdefault(byte, {})
                node.setdefault(_OWNERS, []).append(expression)
        self._places = re.compile(b"|".join(_begins(self._tree)) or b"(?!)")

    @classmethod
    def compiled(cls, rows: Sequence[Row]) -> Pass:
        """Take expressions apart."""
        return cls([_Expression(row) for row in rows])

    def scan(self, block: memoryview | bytes, most: int) -> Hits:
        """Return the hits in a block; beyond `most` of one rule they are thinned."""
        data = bytes(block)
        ends = {
            (end, expression.rule)
            for expression, start in self._tries(data)
            if (end := expression.end(data, start)) is not None
        }
        found: Hits = []
        add = kept_in(found, most)
        for end, rule in sorted(ends):
            add(rule, end)
        return found

    def dumped(self) -> bytes:
        """Return nothing: it is quicker made than read."""
        return b""

    def _tries(self, data: bytes) -> Iterator[tuple[_Expression, int]]:
        """Yield what to try where, nothing twice: clues may lie close, or be all that a text is made of."""
        folded, tried = data.lower(), dict[_Expression, int]()
        for place in self._places.finditer(folded):
            for expression in self._owners(folded, place.start()):
                starts = expression.starts(data, place.start())
                for start in range(max(starts.start, tried.get(expression, 0)), starts.stop):
                    yield expression, start
                tried[expression] = max(starts.stop, 0)
        for expression in self._clueless:
            yield from ((expression, start) for start in expression.all_starts(data))

    def _owners(self, folded: bytes, at: int) -> Iterator[_Expression]:
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
