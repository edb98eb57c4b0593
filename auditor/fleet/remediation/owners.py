"""Owners of repositories, by the globs of the config file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import itemgetter

from auditor.core.globs import Globs
from auditor.core.owner_options import OwnerOptions

_LITERAL = re.compile(r"[\w./:-]*", re.ASCII)


class Owners:
    """Teams by globs over `HOST/REPOSITORY`, as in a .gitignore. The longest matching glob decides."""

    def __init__(self, options: Mapping[str, OwnerOptions]) -> None:
        self._by_begin: dict[str, list[tuple[int, Globs | None, str]]] = {}
        for rank, glob in enumerate(sorted(options, key=lambda glob: -len(glob))):
            begin = _begin(glob)
            is_folder = begin.endswith("/") and glob.removeprefix("/") == f"{begin}**"  # matches all that begin so
            self._by_begin.setdefault(begin, []).append((rank, None if is_folder else Globs([glob]), glob))
        self._lengths = sorted({len(begin) for begin in self._by_begin})
        self._globs: dict[str, str | None] = {}
        self._teams = {glob: owner.team for glob, owner in options.items()}
        self.teams = tuple(sorted(set(self._teams.values())))

    def of(self, host: str, repository: str) -> str | None:
        """Return the team that owns a repository, None without a matching glob."""
        glob = self.glob_of(host, repository)
        return None if glob is None else self._teams[glob]

    def glob_of(self, host: str, repository: str) -> str | None:
        """Return the glob whose settings apply to a repository: the longest matching one, None without any."""
        name = f"{host}/{repository}"
        if name not in self._globs:
            begins = (name[:length] for length in self._lengths if length <= len(name))
            candidates = sorted((one for begin in begins for one in self._by_begin.get(begin, ())), key=itemgetter(0))
            self._globs[name] = next(
                (glob for _, globs, glob in candidates if globs is None or globs.match(name)), None
            )
        return self._globs[name]


def _begin(glob: str) -> str:
    """Return the text with which all matching names begin: looking it up is faster than matching each glob."""
    return _LITERAL.match(glob.removeprefix("/"))[0] if "/" in glob[:-1] else ""  # type: ignore[index]
