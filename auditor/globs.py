"""Globs over absolute paths, as in a .gitignore."""

from __future__ import annotations

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
