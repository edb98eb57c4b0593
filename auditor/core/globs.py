"""Globs over absolute paths, as in a .gitignore; masks in shown texts."""

from __future__ import annotations

import re
from collections.abc import Sequence


class Globs:
    """Compiled globs. The last match decides, `!` negates."""

    def __init__(self, patterns: Sequence[str]) -> None:
        import pathspec  # 15 ms, for options and rules that have globs

        # Only the simple backend accepts names that are not UTF-8.
        self._spec = pathspec.GitIgnoreSpec.from_lines(patterns, backend="simple")

    def match(self, path: str) -> bool:
        """Whether the globs match a path."""
        return self._spec.match_file(path)

    def expressions(self) -> list[str]:
        """Return the regular expressions of the globs."""
        found = [getattr(pattern, "regex", None) for pattern in self._spec.patterns]
        return [regex.pattern for regex in found if regex is not None]


MASK = "****"
"""Replaces the middle of a secret, or all of it, in shown texts."""


def matches_masked(shown: str, text: str) -> bool:
    """Whether `shown` may be the masked form of a text."""
    if MASK not in shown:
        return text == shown
    return re.fullmatch(".+".join(map(re.escape, shown.split(MASK))), text, re.DOTALL) is not None
