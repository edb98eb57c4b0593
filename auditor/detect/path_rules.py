"""Rules that look only at certain files: which of them a file's path calls for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from auditor.core.globs import Globs
from auditor.core.limits import Limits
from auditor.detect.engines import Pass
from auditor.detect.hits import MULTILINE, Row
from auditor.detect.rules import Ruleset


def path_rows(ruleset: Ruleset) -> list[Row]:
    """Return the globs of all rules that have `paths`, as expressions over lines of paths."""
    # What is any byte but a slash to a glob would go on into the next path.
    return [
        (number, expression.replace("[^", r"[^\n").encode(), MULTILINE)
        for number, rule in enumerate(ruleset.rules)
        for expression in Globs(rule.paths).expressions()
    ]


class PathRules:
    """The rules of a ruleset that have `paths`, compiled from `path_rows`."""

    def __init__(self, rules: Pass, limits: Limits) -> None:
        self._pass, self._most = rules, limits.raw_hits

    def of(self, paths: Sequence[str]) -> dict[int, list[int]]:
        """Return, by index into `paths`, the numbers of the rules that look at that file. Paths are relative."""
        if not paths:
            return {}
        lines = [path.encode("utf-8", "surrogateescape").replace(b"\n", b"\0") for path in paths]
        starts = [0, *accumulate(len(line) + 1 for line in lines)]
        hits = self._pass.scan(b"\n".join(lines), self._most)
        called: dict[int, list[int]] = {}
        for at, number in sorted({(bisect_right(starts, end) - 1, number) for number, end in hits}):
            called.setdefault(at, []).append(number)
        return called
