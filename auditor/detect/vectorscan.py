"""Expressions compiled, kept and searched for by Vectorscan."""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Sequence
from importlib.metadata import version
from typing import cast

import hyperscan

from auditor.detect.hits import Hits, Row, kept_in

MADE_BY = f"hyperscan {version('hyperscan')}"
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
        """Compile expressions. Raises ValueError where Vectorscan refuses one, or all together."""
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        try:
            if rows:
                database.compile(
                    expressions=[expression for _, expression, _ in rows],
                    ids=list(range(len(rows))),
                    elements=len(rows),
                    flags=[flags for _, _, flags in rows],
                )
        except hyperscan.error as exc:
            raise ValueError(f"Vectorscan refuses the pattern: {exc}") from exc
        return cls(array("H", [number for number, _, _ in rows]), database)

    def scan(self, block: memoryview | bytes, most: int) -> Hits:
        """Return the hits in a block; beyond `most` of one rule they are thinned."""
        found: Hits = []
        owner, add = self._owner, kept_in(found, most)

        def note(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            add(owner[expression], end)

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
