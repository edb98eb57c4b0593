"""Matching engine Vectorscan, through the package hyperscan."""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Sequence
from typing import cast

from auditor.detect.hits import Expression, Hits, kept_in

try:
    import hyperscan
except ImportError as exc:
    MISSING: str | None = f"hyperscan can't be imported: {exc}"
else:
    MISSING = None

_HEAD = struct.Struct("<II")
"""Header of a dump: number of expressions, bytes of the database."""


class VectorscanDatabase:
    """Compiled expressions, each with the number of its rule.

    `scan` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(self, rules: array[int], database: hyperscan.Database) -> None:
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
        return cls(array("H", [expression.rule for expression in expressions]), database)

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
        """Serialize: number of expressions, bytes of the database, rule numbers, database."""
        data = hyperscan.dumpb(self._database) if self._rules else b""
        return _HEAD.pack(len(self._rules), len(data)) + self._rules.tobytes() + data

    def _scratch(self) -> hyperscan.Scratch:
        """Return the scratch space of this thread: Vectorscan needs one for each scan that runs at the same time."""
        scratch: hyperscan.Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        return scratch


def load_databases(data: bytes) -> list[VectorscanDatabase]:
    """Load joined dumps. Raises ValueError where they belong to another version of Vectorscan or another CPU."""
    databases, at = [], 0
    try:
        while at < len(data):
            count, size = _HEAD.unpack_from(data, at)
            start = at + _HEAD.size + 2 * count
            rules, at = array("H", data[at + _HEAD.size : start]), start + size
            raw = data[start:at]
            database = hyperscan.loadb(raw, hyperscan.HS_MODE_BLOCK) if raw else hyperscan.Database()
            databases.append(VectorscanDatabase(rules, database))
    except (hyperscan.error, struct.error) as exc:
        raise ValueError(f"no compiled rules: {exc}") from exc
    return databases
