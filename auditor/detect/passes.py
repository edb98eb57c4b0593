"""Expressions that Vectorscan looks for together, compiled, kept and searched for."""

from __future__ import annotations

import struct
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import cast

import hyperscan

Hits = list[tuple[int, int]]
"""(rule number, end) for each raw hit, in the order of their ends."""

Row = tuple[int, bytes, int]
"""The number of a rule, one of its expressions, and the expression's Vectorscan flags."""

CASELESS, MULTILINE = hyperscan.HS_FLAG_CASELESS, hyperscan.HS_FLAG_MULTILINE
VectorscanError = hyperscan.error

MAX_HITS = 20_000
"""Raw hits of one rule in a block that are all kept; beyond that one in `SPARSE` bytes, or a run of one letter would
take gigabytes. Hits that lie close are confirmed together, so that a match between two of them is seen."""
SPARSE = 256

_HEAD = struct.Struct("<II")


class Pass:
    """Expressions that are looked for together, each with the number of the rule that owns it.

    `scan` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(self, owner: array[int], database: hyperscan.Database) -> None:
        self._owner, self._database = owner, database
        self._local = threading.local()

    @classmethod
    def compiled(cls, rows: Sequence[Row]) -> Pass:
        """Compile expressions. Raises VectorscanError."""
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        if rows:
            database.compile(
                expressions=[expression for _, expression, _ in rows],
                ids=list(range(len(rows))),
                elements=len(rows),
                flags=[flags for _, _, flags in rows],
            )
        return cls(array("H", [number for number, _, _ in rows]), database)

    def scan(self, block: memoryview | bytes) -> Hits:
        """Return the hits in a block."""
        found: Hits = []
        owner, counts, last = self._owner, dict[int, int](), dict[int, int]()

        def note(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            rule = owner[expression]
            count = counts[rule] = counts.get(rule, 0) + 1
            if count > MAX_HITS and end - last.get(rule, 0) < SPARSE:
                return
            if count >= MAX_HITS:
                last[rule] = end
            found.append((rule, end))

        if owner and len(block):
            self._database.scan(cast(bytes, block), match_event_handler=note, scratch=self._scratch())
        return found

    def dumped(self) -> bytes:
        """Return number of expressions, bytes of the database, rule numbers, database."""
        data = hyperscan.dumpb(self._database) if self._owner else b""
        return _HEAD.pack(len(self._owner), len(data)) + self._owner.tobytes() + data

    def _scratch(self) -> hyperscan.Scratch:
        """Return this thread's own scratch space, which no two scans may share at once."""
        scratch: hyperscan.Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        return scratch


def loaded(data: bytes) -> list[Pass]:
    """Return passes whose dumps were joined. Raises ValueError where they don't fit this Vectorscan or CPU."""
    passes, at = [], 0
    try:
        while at < len(data):
            count, size = _HEAD.unpack_from(data, at)
            start = at + _HEAD.size + 2 * count
            owner, at = array("H", data[at + _HEAD.size : start]), start + size
            raw = data[start:at]
            passes.append(Pass(owner, hyperscan.loadb(raw, hyperscan.HS_MODE_BLOCK) if raw else hyperscan.Database()))
    except (hyperscan.error, struct.error) as exc:
        raise ValueError(f"no compiled rules: {exc}") from exc
    return passes


def joined_hits(scan: Callable[[bytes | memoryview], Hits], pieces: Sequence[bytes | memoryview]) -> list[Hits]:
    """Search several pieces in one go, as lines of one block, and return the hits of each.

    A call costs as much as some kilobytes do, and waits for the interpreter lock when it is back.
    """
    if len(pieces) == 1:
        return [scan(pieces[0])]
    starts = list(accumulate((len(piece) + 1 for piece in pieces), initial=0))
    own: list[Hits] = [[] for _ in pieces]
    for rule, end in scan(b"\n".join(pieces)) if pieces else ():
        at = bisect_left(starts, end) - 1
        if end - starts[at] <= len(pieces[at]):
            own[at].append((rule, end - starts[at]))
    return own
