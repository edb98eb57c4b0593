"""Owners of repositories, by the globs of the config file."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.core.globs import Globs
from auditor.core.owner_options import OwnerOptions

NO_OWNER = "no owner"
"""Name of the repositories without an owner."""


class Owners:
    """Teams by globs over `HOST/REPOSITORY`, as in a .gitignore. The longest matching glob decides."""

    def __init__(self, options: Mapping[str, OwnerOptions]) -> None:
        longest_first = sorted(options.items(), key=lambda item: -len(item[0]))
        self._globs = [(Globs([glob]), owner.team) for glob, owner in longest_first]
        self._teams: dict[str, str | None] = {}
        self.teams = tuple(sorted({owner.team for owner in options.values()}))

    def of(self, host: str, repository: str) -> str | None:
        """Return the team that owns a repository, None without a matching glob."""
        name = f"{host}/{repository}"
        if name not in self._teams:
            self._teams[name] = next((team for globs, team in self._globs if globs.match(name)), None)
        return self._teams[name]
