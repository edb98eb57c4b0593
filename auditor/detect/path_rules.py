"""Rules with `paths`, selected by the path of a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from auditor.core.globs import Globs
from auditor.core.limits import Limits
from auditor.detect.engines import PatternDatabase
from auditor.detect.hits import MULTILINE, Expression
from auditor.detect.rules import Ruleset


def path_expressions(ruleset: Ruleset) -> list[Expression]:
    """Return the globs of all rules with `paths` as expressions over lines of paths."""
    # `[^/]` of a glob would match the line break that ends a path.
    return [
        Expression(number, expression.replace("[^", r"[^\n").encode(), MULTILINE)
        for number, rule in enumerate(ruleset.rules)
        for expression in Globs(rule.paths).expressions()
    ]


class PathRules:
    """The rules of a ruleset that have `paths`, compiled from `path_expressions`."""

    def __init__(self, globs: PatternDatabase, limits: Limits) -> None:
        self._globs, self._most = globs, limits.raw_hits

    def of(self, paths: Sequence[str]) -> dict[int, list[int]]:
        """Return rule numbers by index into `paths`. Paths are relative; those that no rule names are left out."""
        if not paths:
            return {}
        lines = [path.encode("utf-8", "surrogateescape").replace(b"\n", b"\0") for path in paths]
        starts = [0, *accumulate(len(line) + 1 for line in lines)]
        hits = self._globs.scan(b"\n".join(lines), self._most)
        selected: dict[int, list[int]] = {}
        for at, number in sorted({(bisect_right(starts, end) - 1, number) for number, end in hits}):
            selected.setdefault(at, []).append(number)
        return selected
