"""Which repositories and tags a sweep looks at: the catalog or a list of the user's, globs, the newest.

A registry, or a part of it, may have its own entry under `registries` in the config file: the longest name that fits
counts, and options of the command line win.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from auditor.config.file import Registry
from auditor.core.errors import NotFound, Unauthorized, UsageError
from auditor.registry.client import Client
from auditor.registry.reference import DOCKER_HUB, Reference, is_repository, parse_reference
from auditor.registry.repository import repositories

_HOST = re.compile(r"(?:[^/]*[.:][^/]*|localhost)(?=/)")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is swept: `host`, below `prefix`; where `listed` is given, only that, which came from the file `source`."""

    host: str
    prefix: str = ""
    listed: tuple[Reference, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host


@dataclass(frozen=True, slots=True)
class RepositorySelection:
    """A repository that is swept. Its `versions` are tags or digests; None stands for all tags that it has."""

    name: str
    versions: tuple[str, ...] | None
    settings: Registry

    def includes(self, tags: Sequence[str]) -> bool:
        """Whether an image that these tags named is wanted; one that had none is where all are."""
        if self.versions is not None:
            return any(tag in self.versions for tag in tags)
        return bool(match_tags(tags, self.settings)) or not (tags or self.settings.tags)


@dataclass(frozen=True, slots=True)
class TagFilter:
    """What the config file says of registries, and what the command line says of all."""

    registries: Mapping[str, Registry]
    repos: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    newest: int | None = None

    def of(self, host: str, repository: str) -> Registry:
        """Return what holds for a repository."""
        name = f"{host}/{repository}"
        fitting = [key for key in self.registries if f"{name}/".startswith(f"{key.rstrip('/')}/")]
        found = self.registries[max(fitting, key=len)] if fitting else Registry()
        return replace(
            found,
            newest=self.newest or found.newest,
            repos=self.repos or found.repos,
            tags=self.tags or found.tags,
        )


def parse_scope(name: str | None, lines: Path | None) -> Scope:
    """Parse HOST[/PREFIX], and the list of --from. Raises UsageError."""
    if name is None and lines is None:
        raise UsageError("name a registry, as HOST[/PREFIX], or a list of references with --from FILE")
    text = (name or "").removeprefix("docker://").rstrip("/")
    host, _, prefix = text.partition("/")
    if name is not None:
        parse_reference(f"{host if _HOST.match(f'{host}/') else f'{host}:443'}/{prefix or 'x'}")
    listed = _listed(lines, host) if lines else ()
    hosts = sorted({reference.host for reference in listed})
    if len(hosts) > 1:
        raise UsageError(f"--from {lines}: names several registries ({', '.join(hosts)}); sweep each on its own")
    return Scope(host or hosts[0], prefix, listed, str(lines) if lines else "")


def select_repositories(
    client: Client, scope: Scope, tag_filter: TagFilter, known: Iterable[str] = ()
) -> Iterator[RepositorySelection]:
    """Yield the repositories that are wanted, in order. Raises UsageError where the registry has no catalog.

    Those that were `known` to hold something are looked at though the catalog leaves them out: to see whether they do.
    """
    versions: dict[str, list[str] | None] = {}
    for reference in scope.listed:
        _add(versions, reference)
    names = versions if scope.listed else dict.fromkeys([*_catalog(client, scope), *known])
    for name in sorted(names):
        rules = tag_filter.of(scope.host, name)
        if _below(name, scope.prefix) and _fits(name, rules.repos):
            listed = versions.get(name)
            yield RepositorySelection(name, tuple(dict.fromkeys(listed)) if listed else None, rules)


def match_tags(tags: Iterable[str], rules: Registry) -> list[str]:
    """Return the tags that the globs let through, in order."""
    return sorted(tag for tag in tags if _fits(tag, rules.tags))


def newest_tags(tags: Sequence[str], made: Mapping[str, str | None], count: int | None) -> list[str]:
    """Return the `count` tags whose images were made last, in the order of their names; all where there is no count.

    Times are RFC 3339; an image without one counts as oldest.
    """
    if count is None:
        return list(tags)
    return sorted(sorted(tags, key=lambda tag: (made.get(tag) or "", tag), reverse=True)[:count])


def _add(versions: dict[str, list[str] | None], reference: Reference) -> None:
    version = reference.digest or reference.tag
    if version is None:
        versions[reference.repository] = None
        return
    held = versions.setdefault(reference.repository, [])
    if held is not None:
        held.append(version)


def _catalog(client: Client, scope: Scope) -> list[str]:
    try:
        return [name for name in repositories(client) if is_repository(name)]
    except (NotFound, Unauthorized) as exc:
        if scope.prefix:
            return [scope.prefix]  # which may be a repository, as on Docker Hub
        raise UsageError(f"{scope.host} shows no catalog ({exc}); list its repositories with --from FILE") from exc


def _listed(path: Path, host: str) -> tuple[Reference, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--from {path}: can't be read: {getattr(exc, 'strerror', None) or exc}") from exc
    found = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip().removeprefix("docker://")
        if text:
            found.append(_reference(text, host, f"--from {path}: line {number}"))
    if not found:
        raise UsageError(f"--from {path}: names no image and no repository")
    return tuple(found)


def _reference(text: str, host: str, where: str) -> Reference:
    """Parse a line; a name without a host is of the registry that is swept."""
    own = _HOST.match(text)
    if own and host and own[0] != host:
        raise UsageError(f"{where}: is not of {host}")
    try:
        if host and host != DOCKER_HUB:
            return replace(parse_reference(f"localhost/{text.removeprefix(f'{host}/')}"), host=host)
        return parse_reference(text)
    except UsageError:  # which quotes the line: another file, named by mistake, may hold anything
        raise UsageError(f"{where}: is no image reference; want HOST/REPO[:TAG|@DIGEST]") from None


def _below(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def _fits(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
