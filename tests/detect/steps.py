"""Steps of an expression on a text, counted: a backtracking search as `re` does it, in Python.

`re` takes as much time as a search takes steps, and tells nobody. A step is an attempt to match one item of the parse
tree, or one character of a repeat.
"""

from __future__ import annotations

import re
import re._compiler as compiler  # type: ignore[import-not-found]
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from typing import Any

from tests.detect.mutations import REPEATS

_SINGLE = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)


class TooManyError(Exception):
    """More steps than were allowed."""


class Steps:
    """Searches with one expression. `search` raises TooManyError beyond `most` steps."""

    def __init__(self, pattern: re.Pattern[Any], most: int) -> None:
        flags = pattern.flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL)
        self._tree = parser.parse(pattern.pattern, flags)
        self._flags, self._most, self._text = self._tree.state.flags, most, pattern.pattern
        self._compiled: dict[tuple[int, int], re.Pattern[Any]] = {}
        self._groups: dict[int, tuple[int, int]] = {}
        self.steps = 0

    def search(self, text: Any) -> tuple[int, int] | None:
        """Return the span of the first match."""
        self.steps = 0
        self._groups.clear()
        return next((found for at in range(len(text) + 1) if (found := self.match(text, at))), None)

    def match(self, text: Any, at: int = 0) -> tuple[int, int] | None:
        """Return the span of a match that begins at a place."""
        self._text = text
        end = next(self._sequence(list(self._tree), 0, at, self._flags), None)
        return None if end is None else (at, end)

    def _step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > self._most:
            raise TooManyError

    def _sequence(self, items: Sequence[Any], number: int, at: int, flags: int) -> Iterator[int]:
        if number == len(items):
            yield at
            return
        for end in self._item(items[number], at, flags):
            yield from self._sequence(items, number + 1, end, flags)

    def _item(self, item: Any, at: int, flags: int) -> Iterator[int]:
        kind, value = item
        self._step()
        if kind is op.BRANCH:
            for branch in value[1]:
                yield from self._sequence(list(branch), 0, at, flags)
        elif kind is op.SUBPATTERN:
            group, added, removed, inner = value
            for end in self._sequence(list(inner), 0, at, (flags | added) & ~removed):
                self._groups[group] = (at, end)
                yield end
        elif kind in REPEATS:
            yield from self._repeat(kind, value, at, flags)
        elif kind is op.GROUPREF:
            start, end = self._groups.get(value, (0, 0))
            if self._text.startswith(self._text[start:end], at):
                yield at + end - start
        elif kind in (op.ASSERT, op.ASSERT_NOT) and value[0] > 0:
            holds = any(True for _ in self._sequence(list(value[1]), 0, at, flags))
            yield from (at,) if holds is (kind is op.ASSERT) else ()
        elif found := self._one(item, flags).match(self._text, at):
            yield found.end()

    def _repeat(self, kind: Any, value: Any, at: int, flags: int) -> Iterator[int]:
        low, high, inner = value
        items = list(inner)
        if kind is op.POSSESSIVE_REPEAT:
            first = next(self._repeat(op.MAX_REPEAT, value, at, flags), None)
            yield from () if first is None else (first,)
        elif len(items) == 1 and items[0][0] in _SINGLE:
            yield from self._run(kind, (low, high), items[0], at, flags)
        elif kind is op.MIN_REPEAT:
            yield from (at,) if low == 0 else ()
            yield from self._more(kind, value, at, flags)
        else:
            yield from self._more(kind, value, at, flags)
            yield from (at,) if low == 0 else ()

    def _more(self, kind: Any, value: Any, at: int, flags: int) -> Iterator[int]:
        """One round, then the rest of the rounds; a round that matches nothing is the last."""
        low, high, inner = value
        if high == 0:
            return
        rest = high if high is op.MAXREPEAT else high - 1
        for end in self._sequence(list(inner), 0, at, flags):
            if end > at:
                yield from self._repeat(kind, (max(low - 1, 0), rest, inner), end, flags)

    def _run(self, kind: Any, counts: tuple[int, Any], item: Any, at: int, flags: int) -> Iterator[int]:
        """A repeat of one character: all that it takes, then one by one less; or the other way round."""
        low, high = counts
        one, end = self._one(item, flags), at
        most = len(self._text) if high is op.MAXREPEAT else min(at + high, len(self._text))
        while end < most and one.match(self._text, end):
            end += 1
        self._step(end - at)
        ends = range(at + low, end + 1)
        for place in ends if kind is op.MIN_REPEAT else reversed(ends):
            self._step()
            yield place

    def _one(self, item: Any, flags: int) -> re.Pattern[Any]:
        key = (id(item[1]) if isinstance(item[1], list | tuple) else hash((str(item[0]), item[1])), flags)
        if key not in self._compiled:
            state = parser.State()
            state.flags, state.str = flags, self._tree.state.str
            self._compiled[key] = compiler.compile(parser.SubPattern(state, [item]), flags)
        return self._compiled[key]
