"""Owners of repositories, by the globs of the config file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from auditor.core.globs import Globs
from auditor.core.owner_options import OwnerOptions

_LITERAL = re.compile(r"[\w./:-]*", re.ASCII)
NO_OWNER = "no owner"
"""Name of the repositories without an owner."""


class Owners:
    """Teams by globs over `HOST/REPOSITORY`, as in a .gitignore. The longest matching glob decides."""

    def __init__(self, options: Mapping[str, OwnerOptions]) -> None:
        longest_first = sorted(options.items(), key=lambda item: -len(item[0]))
        self._globs = [(_begin(glob), Globs([glob]), owner.team) for glob, owner in longest_first]
        self._teams: dict[str, str | None] = {}
        self.teams = tuple(sorted({owner.team for owner in options.values()}))

    def of(self, host: str, repository: str) -> str | None:
        """Return the team that owns a repository, None without a matching glob."""
        name = f"{host}/{repository}"
        if name not in self._teams:
            matching = (team for begin, globs, team in self._globs if name.startswith(begin) and globs.match(name))
            self._teams[name] = next(matching, None)
        return self._teams[name]


def _begin(glob: str) -> str:
    """Return the text with which all matching names begin: comparing it is faster than matching the glob."""
    return _LITERAL.match(glob.removeprefix("/"))[0] if "/" in glob[:-1] else ""  # type: ignore[index]
