"""Rules that look only at certain files: which of them a file's path calls for."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import hyperscan

from auditor.detect.rules import Ruleset
from auditor.globs import Globs


def scratch_of(local: threading.local, database: hyperscan.Database) -> hyperscan.Scratch:
    """Return this thread's own scratch space for a database, which no two scans may share at once."""
    scratch: hyperscan.Scratch | None = getattr(local, "scratch", None)
    if scratch is None:
        scratch = local.scratch = hyperscan.Scratch(database)
    return scratch


class PathRules:
    """The rules of a ruleset that have `paths`; all their globs are one Vectorscan database over lines of paths."""

    def __init__(self, ruleset: Ruleset) -> None:
        globs = [
            (number, expression)
            for number, rule in enumerate(ruleset.rules)
            for expression in Globs(rule.paths).expressions()
        ]
        self._owner = [number for number, _ in globs]
        self._local = threading.local()
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        if globs:
            self._database.compile(
                expressions=[expression.encode() for _, expression in globs],
                ids=list(range(len(globs))),
                elements=len(globs),
                flags=[hyperscan.HS_FLAG_MULTILINE] * len(globs),
            )

    def of(self, paths: Sequence[str]) -> dict[int, list[int]]:
        """Return, by index into `paths`, the numbers of the rules that look at that file. Paths are relative."""
        if not self._owner or not paths:
            return {}
        lines = [path.encode("utf-8", "surrogateescape").replace(b"\n", b"\0") for path in paths]
        starts = [0, *accumulate(len(line) + 1 for line in lines)]
        found: set[tuple[int, int]] = set()

        def note(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.add((bisect_right(starts, end) - 1, self._owner[expression]))

        self._database.scan(
            b"\n".join(lines), match_event_handler=note, scratch=scratch_of(self._local, self._database)
        )
        called: dict[int, list[int]] = {}
        for at, number in sorted(found):
            called.setdefault(at, []).append(number)
        return called
