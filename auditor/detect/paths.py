"""Rules that look only at certain files: which of them a file's path calls for.

Their globs, as in a .gitignore, are looked for in all paths at once; what hits is confirmed glob by glob.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import hyperscan

from auditor.detect.prefilter import prefilter
from auditor.detect.rules import Ruleset
from auditor.globs import Globs


class PathRules:
    """The rules of a ruleset that have `paths`."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._globs = {number: rule.paths for number, rule in enumerate(ruleset.rules) if rule.paths}
        self._specs: dict[int, Globs] = {}
        self._database: hyperscan.Database | None = None
        self._always: list[int] = []  # globs without anything literal, as `**/*`
        self._owner: list[int] = []
        self._compile()

    def _compile(self) -> None:
        expressions = []
        for number, globs in self._globs.items():
            for pattern in Globs(globs).expressions():
                try:
                    expressions.append(prefilter(pattern).expression)
                    self._owner.append(number)
                except ValueError:
                    self._always.append(number)
        if expressions:
            self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            count = len(expressions)
            self._database.compile(expressions=expressions, ids=list(range(count)), elements=count, flags=[0] * count)
            self._scratch = hyperscan.Scratch(self._database)

    def of(self, paths: Sequence[str]) -> dict[int, list[int]]:
        """Return, by index into `paths`, the numbers of the rules that look at that file. Paths are absolute."""
        if not self._globs or not paths:
            return {}
        encoded = [path.encode("utf-8", "surrogateescape") for path in paths]
        starts = [0, *accumulate(len(path) + 1 for path in encoded)]
        candidates = {(at, number) for number in self._always for at in range(len(paths))}

        def note(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            candidates.add((bisect_right(starts, end - 1) - 1, self._owner[expression]))

        if self._database is not None:
            self._database.scan(b"\n".join(encoded), match_event_handler=note, scratch=self._scratch)
        found: dict[int, list[int]] = {}
        for at, number in sorted(candidates):
            if self._matches(number, paths[at]):
                found.setdefault(at, []).append(number)
        return found

    def _matches(self, number: int, path: str) -> bool:
        if number not in self._specs:
            self._specs[number] = Globs(self._globs[number])
        return self._specs[number].match(path)
