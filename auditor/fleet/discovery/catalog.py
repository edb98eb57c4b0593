"""Selection of repositories and tags: the catalog or a list of the user, globs, the newest tags.

The config file may have an entry for a registry, or a part of it, under `registries`. The longest matching name
applies; options of the command line win.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import NotFound, Unauthorized, Unsupported, UsageError, without_logins
from auditor.core.options import RegistryOptions
from auditor.core.text import plural, printable, shortened
from auditor.registry.client import Client
from auditor.registry.listing.kinds import list_repositories
from auditor.registry.reference import DOCKER_HUB, Reference, is_repository, parse_reference
from auditor.registry.repository import Repository

_HOST = re.compile(r"(?:[^/]*[.:][^/]*|localhost)(?=/)")
_SHOWN_NAMES, _SHOWN_CHARACTERS = 20, 150  # of invalid names in a list


@dataclass(frozen=True, slots=True)
class Scope:
    """Registry `host`, below `prefix`; if `listed` is given, only these references, read from the file `source`."""

    host: str
    prefix: str = ""
    listed: tuple[Reference, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host


class RepositoryOrigin(Enum):
    """Source of the name of a repository."""

    NAMED = "named by the user"
    LISTED = "listed by the registry"
    STORED = "found by earlier sweeps, and no longer listed"


@dataclass(frozen=True, slots=True)
class RepositorySelection:
    """Repository of a sweep. `versions` are tags or digests; None stands for all its tags.

    Its `origin` tells whether it may be deleted by now.
    """

    name: str
    versions: tuple[str, ...] | None
    settings: RegistryOptions
    origin: RepositoryOrigin

    def includes(self, tags: Sequence[str]) -> bool:
        """Whether the selection covers an image with these tags; without tags, whether no tag glob is set."""
        if self.versions is not None:
            return any(tag in self.versions for tag in tags)
        return bool(match_tags(tags, self.settings)) or not (tags or self.settings.tags)


@dataclass(frozen=True, slots=True)
class TagFilter:
    """Filter of repositories and tags: settings of the config file, and options that apply to all registries."""

    registries: Mapping[str, RegistryOptions]
    repos: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    newest: int | None = None

    def of(self, host: str, repository: str) -> RegistryOptions:
        """Return the settings of a repository."""
        name = f"{host}/{repository}"
        matching = [key for key in self.registries if f"{name}/".startswith(f"{key.rstrip('/')}/")]
        settings = self.registries[max(matching, key=len)] if matching else RegistryOptions()
        return replace(
            settings,
            newest=self.newest or settings.newest,
            repos=self.repos or settings.repos,
            tags=self.tags or settings.tags,
        )


def parse_scope(name: str | None, lines: Path | None) -> Scope:
    """Parse HOST[/PREFIX] and the list of --from. Raises UsageError."""
    if name is None and lines is None:
        raise UsageError("name a registry as HOST[/PREFIX], or a file of references with --from FILE")
    text = (name or "").removeprefix("docker://").rstrip("/")
    host, _, prefix = text.partition("/")
    if name is not None:
        _check_scope(name, host, prefix)
    listed = _listed(lines, host) if lines else ()
    hosts = sorted({reference.host for reference in listed})
    if len(hosts) > 1:
        raise UsageError(
            f"--from {lines}: lists several registries ({', '.join(hosts)}). Scan each with a file of its own."
        )
    return Scope(host or hosts[0], prefix, listed, str(lines) if lines else "")


def _check_scope(name: str, host: str, prefix: str) -> None:
    """Raise UsageError where HOST/PREFIX can't be the beginning of a reference."""
    try:
        parse_reference(f"{host if _HOST.match(f'{host}/') else f'{host}:443'}/{prefix or 'x'}")
    except UsageError:
        shown = without_logins(f"docker://{name}").removeprefix("docker://")
        raise UsageError(f"{shown!r:.200} is not a registry; expected HOST[:PORT][/PREFIX]") from None


def select_repositories(
    client: Client,
    scope: Scope,
    tag_filter: TagFilter,
    known: Iterable[str] = (),
    report_invalid: Callable[[list[str]], object] = lambda _: None,
) -> Iterator[RepositorySelection]:
    """Yield the selected repositories by name. Raises UsageError if the registry lists none.

    Repositories in `known`, where earlier sweeps found images, are included even if the catalog no longer lists them.
    `report_invalid` receives the selected names in the catalog that are no valid names, if there are any.
    """
    versions: dict[str, list[str] | None] = {}
    for reference in scope.listed:
        _add(versions, reference)
    if scope.listed:
        names = dict.fromkeys(versions, RepositoryOrigin.NAMED)
    else:
        names = dict.fromkeys(known, RepositoryOrigin.STORED)
        names.update(dict.fromkeys(_catalog(client, scope), RepositoryOrigin.LISTED))
    invalid: list[str] = []
    for name in sorted(names):
        settings = tag_filter.of(scope.host, name)
        if not (_below(name, scope.prefix) and _matches(name, settings.repos)):
            continue
        if is_repository(name):
            listed = versions.get(name)
            versions_of = tuple(dict.fromkeys(listed)) if listed else None
            yield RepositorySelection(name, versions_of, settings, names[name])
        else:
            invalid.append(name)
    if invalid:
        report_invalid(invalid)


def match_tags(tags: Iterable[str], settings: RegistryOptions) -> list[str]:
    """Return the tags that match the globs, sorted."""
    return sorted(tag for tag in tags if _matches(tag, settings.tags))


def invalid_names(where: str, names: Sequence[str], kind: str) -> list[tuple[str, str]]:
    """Return failures, pairs of reference and reason, for names in a list at `where` that are no valid ones.

    `kind` says of what they are names. At most some are listed, and the number of the others.
    """
    shown = [shortened(printable(name), _SHOWN_CHARACTERS) for name in names[:_SHOWN_NAMES]]
    rule = f"the registry lists it, but the OCI specification does not allow it as the name of a {kind}; not audited"
    found = [(f"{where}'{name}'", rule) for name in shown]
    if left := len(names) - len(shown):
        found.append((f"{where}…", f"{plural(left, 'further invalid name')} of a {kind} in the list; not audited"))
    return found


def newest_tags(tags: Sequence[str], created: Mapping[str, str | None], count: int | None) -> list[str]:
    """Return the `count` tags with the newest images, sorted by name; all tags if `count` is None.

    Times are RFC 3339; an image without a creation time counts as oldest.
    """
    if count is None:
        return list(tags)
    return sorted(sorted(tags, key=lambda tag: (created.get(tag) or "", tag), reverse=True)[:count])


def _add(versions: dict[str, list[str] | None], reference: Reference) -> None:
    version = reference.digest or reference.tag
    if version is None:
        versions[reference.repository] = None
        return
    listed = versions.setdefault(reference.repository, [])
    if listed is not None:
        listed.append(version)


def _catalog(client: Client, scope: Scope) -> list[str]:
    """Return the repositories that the registry lists; without a list the prefix, if it is a repository."""
    try:
        return list(list_repositories(client, scope.prefix))
    except (NotFound, Unauthorized, Unsupported) as exc:
        if scope.prefix and _exists(client, scope.prefix):
            return [scope.prefix]
        raise UsageError(
            f"{scope.host}: does not list its repositories ({exc}). List them in a file and use --from FILE."
        ) from exc


def _exists(client: Client, name: str) -> bool:
    """Whether a name is a repository with tags that the login may list."""
    try:
        return bool(Repository(client, name).tags())
    except (NotFound, Unauthorized, Unsupported):
        return False


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
        raise UsageError(f"--from {path}: contains no reference. Write one image or repository per line.")
    return tuple(found)


def _reference(text: str, host: str, where: str) -> Reference:
    """Parse a line; a name without a host belongs to `host`."""
    own = _HOST.match(text)
    if own and host and own[0] != host:
        raise UsageError(f"{where}: not a reference of {host}")
    try:
        if host and host != DOCKER_HUB:
            return replace(parse_reference(f"localhost/{text.removeprefix(f'{host}/')}"), host=host)
        return parse_reference(text)
    except UsageError:  # drop its text, which quotes the line: the file may be a wrong one with secrets
        raise UsageError(f"{where}: not an image reference; use HOST/REPO[:TAG|@DIGEST]") from None


def _below(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def _matches(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
