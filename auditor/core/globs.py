"""Globs over absolute paths, as in a .gitignore."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pathspec


class Globs:
    """Compiled globs. Of several that match a path the last decides, `!` negates."""

    def __init__(self, patterns: Sequence[str]) -> None:
        # The simple backend alone takes names that are not UTF-8.
        self._spec = pathspec.GitIgnoreSpec.from_lines(patterns, backend="simple")

    def match(self, path: str) -> bool:
        """Whether the globs choose a path."""
        return self._spec.match_file(path)

    def expressions(self) -> list[str]:
        """Return a regular expression for each glob."""
        found = [getattr(pattern, "regex", None) for pattern in self._spec.patterns]
        return [regex.pattern for regex in found if regex is not None]


MASK = "****"
"""Stands in a shown text for the middle of a secret, or for all of it."""


def fits_masked(shown: str, text: str) -> bool:
    """Whether a text may be the one that was shown, its secrets masked."""
    if MASK not in shown:
        return text == shown
    return re.fullmatch(".+".join(map(re.escape, shown.split(MASK))), text, re.DOTALL) is not None
