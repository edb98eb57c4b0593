"""Matching engine Vectorscan, through the package hyperscan."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

from auditor.detect.hits import Expression, Hits, kept_in

try:
    import hyperscan
except ImportError as exc:
    MISSING: str | None = f"hyperscan can't be imported: {exc}"
else:
    MISSING = None


class VectorscanDatabase:
    """Compiled expressions, each with the number of its rule.

    `scan` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(self, rules: Sequence[int], database: hyperscan.Database) -> None:
        """`rules` holds the rule number of each expression."""
        self._rules, self._database = rules, database
        self._local = threading.local()

    @classmethod
    def compile(cls, expressions: Sequence[Expression]) -> VectorscanDatabase:
        """Compile expressions. Raises ValueError where Vectorscan refuses one, or all together."""
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        try:
            if expressions:
                database.compile(
                    expressions=[expression.pattern for expression in expressions],
                    ids=list(range(len(expressions))),
                    elements=len(expressions),
                    flags=[expression.flags for expression in expressions],
                )
        except hyperscan.error as exc:
            raise ValueError(f"Vectorscan refuses the pattern: {exc}") from exc
        return cls([expression.rule for expression in expressions], database)

    @classmethod
    def load(cls, data: bytes, rules: Sequence[int]) -> VectorscanDatabase:
        """Load a dump. Raises ValueError where it belongs to another version of Vectorscan or another CPU."""
        try:
            return cls(rules, hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK) if rules else hyperscan.Database())
        except hyperscan.error as exc:
            raise ValueError(f"no compiled rules: {exc}") from exc

    def scan(self, block: memoryview | bytes, most: int) -> Hits:
        """Return the hits in a block; beyond `most` of one rule they are thinned."""
        found: Hits = []
        rules, add = self._rules, kept_in(found, most)

        def on_match(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            add(rules[expression], end)

        if rules and len(block):
            self._database.scan(cast(bytes, block), match_event_handler=on_match, scratch=self._scratch())
        return found

    def dump(self) -> bytes:
        """Serialize the database."""
        return hyperscan.dumpb(self._database) if self._rules else b""

    def _scratch(self) -> hyperscan.Scratch:
        """Return the scratch space of this thread: Vectorscan needs one for each scan that runs at the same time."""
        scratch: hyperscan.Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        return scratch
