"""What a repository holds now: its tags to manifests, indexes to images. Asks as little as it can.

A tag that is known is asked for its digest alone (HEAD, which registries don't count as a pull); a manifest whose
parts are known is not fetched. A tag that vanishes between the list and the question is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from auditor.core.digests import Digest
from auditor.core.errors import AuditError, ImageError, NotFound, StoreError, Unauthorized, Unreachable
from auditor.fleet.discovery.candidates import Candidate, group_by_image, read_leaves
from auditor.fleet.discovery.catalog import RepositorySelection, match_tags, newest_tags
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.ledger import audit_keys, repository_id
from auditor.fleet.store.manifests import Leaf, save_manifest, stored_created_times, stored_leaves, stored_tags
from auditor.registry.reference import Reference
from auditor.registry.repository import Repository

_MAX_UNANSWERED = 20  # repositories, tags and digests in a row
T = TypeVar("T")


@dataclass(slots=True)
class Survey:
    """A repository as it was found.

    `listed` are all its tags, None where only some were asked for; `roots` are what those name that were looked up, and
    `shown` the ones of them that are wanted. `failed` are references and reasons.
    """

    selection: RepositorySelection
    number: int
    repository: Repository
    listed: frozenset[str] | None = None
    roots: dict[str, Digest] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    candidates: list[Candidate] = field(default_factory=list)
    audited: dict[str, str] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The repository's name."""
        return self.selection.name


class Surveyor:
    """Surveys repositories, the tags of each in the threads of a pool.

    `open_repository` gives a repository of the registry, and `ask` lets so many ask it at a time.
    """

    def __init__(
        self,
        store: SweepStore,
        open_repository: Callable[[str], Repository],
        pool: Executor,
        platform: str | None,
        ask: ConcurrencyLimit,
    ) -> None:
        self._store, self._open, self._pool, self._platform, self._ask = store, open_repository, pool, platform, ask
        self._unanswered = 0

    def survey(self, selection: RepositorySelection) -> Survey:
        """Look at one repository. What fails is noted, but for the store and a registry that answers no more."""
        repository = self._open(selection.name)
        found = Survey(selection, repository_id(self._store, repository.client.host, selection.name), repository)
        try:
            versions = self._versions(found)
        except NotFound as exc:
            if selection.versions is not None:  # else it was in the catalog, and is gone, or has no tag left
                found.failed.append((selection.name, str(exc)))
            found.listed = frozenset()
            return found
        except (ImageError, Unreachable) as exc:
            self._hear(exc)
            found.failed.append((selection.name, str(exc)))
            return found
        self._resolve(found, versions)
        found.audited = audit_keys(self._store, found.number)
        return found

    def pullable(self, repository: Repository, digests: Iterable[str]) -> dict[str, bool | None]:
        """Ask by HEAD which manifests can be pulled by their digest; None where that could not be asked."""
        answers: dict[str, bool | None] = {}
        for digest, outcome in self._each(lambda text: self._ask(lambda: repository.look_up(text)), digests):
            if isinstance(outcome, NotFound):
                answers[digest] = False
            elif isinstance(outcome, AuditError):
                self._hear(outcome)
                answers[digest] = None
            else:
                self._unanswered = 0
                answers[digest] = True
        return answers

    def _versions(self, found: Survey) -> list[str]:
        selection = found.selection
        if selection.versions is not None:
            return list(selection.versions)
        listed = self._ask(found.repository.tags)
        found.listed = frozenset(listed)
        return match_tags(listed, selection.settings)

    def _resolve(self, found: Survey, versions: Sequence[str]) -> None:
        known = stored_tags(self._store, found.repository.client.host, found.name)
        parts = stored_leaves(self._store, [*known.values(), *(text for text in versions if ":" in text)])
        roots: dict[str, Digest] = {}
        for version, outcome in self._each(lambda text: self._root(found.repository, text, known, parts), versions):
            if isinstance(outcome, AuditError):
                self._note(found, version, outcome)
            else:
                self._unanswered = 0
                roots[version] = outcome
        leaves = {**parts, **stored_leaves(self._store, set(roots.values()) - parts.keys())}
        times = stored_created_times(self._store, set(roots.values())) if found.selection.settings.newest else {}
        made = {version: times.get(digest) for version, digest in roots.items()}
        kept = newest_tags([*roots], made, found.selection.settings.newest)
        found.roots, found.shown = roots, tuple(kept)
        found.candidates = group_by_image({version: leaves.get(roots[version], ()) for version in kept}, self._platform)

    def _root(
        self, repository: Repository, version: str, known: dict[str, Digest], parts: dict[Digest, tuple[Leaf, ...]]
    ) -> Digest:
        """Return the digest that a tag names now; its parts are in the store then."""
        if version in known or version in parts:
            digest = self._ask(lambda: repository.look_up(version))
            if digest is not None and digest in parts:
                return digest
        digest_given = Digest(version) if ":" in version else None
        reference = Reference(repository.client.host, repository.name, None if digest_given else version, digest_given)
        descriptor = self._ask(lambda: repository.resolve(reference))
        if descriptor.digest not in stored_leaves(self._store, [descriptor.digest]):
            leaves, created = self._ask(lambda: read_leaves(repository, descriptor, self._store))
            save_manifest(self._store, descriptor.digest, leaves, created)
        return descriptor.digest

    def _note(self, found: Survey, version: str, error: AuditError) -> None:
        self._hear(error)
        if (
            isinstance(error, NotFound)
            and found.selection.versions is None
            and not self._is_there(found.repository, version)
        ):
            return  # it was deleted since it was listed
        mark = "@" if ":" in version else ":"
        found.failed.append((f"{found.name}{mark}{version}", str(error)))

    def _is_there(self, repository: Repository, tag: str) -> bool:
        """Whether a repository has a tag, as far as it says."""
        try:
            self._ask(lambda: repository.look_up(tag))
        except NotFound:
            return False
        except AuditError:
            return True
        return True

    def _hear(self, error: AuditError) -> None:
        """Count what is not answered. Raises Unreachable where it is too much in a row."""
        silence = isinstance(error, Unreachable) and not isinstance(error, Unauthorized)
        self._unanswered = self._unanswered + 1 if silence else 0
        if self._unanswered >= _MAX_UNANSWERED:  # or each of thousands would be waited for
            raise Unreachable(f"{error}; the sweep ends here, and goes on there when it is run again")

    def _each(self, work: Callable[[str], T], items: Iterable[str]) -> Iterable[tuple[str, T | AuditError]]:
        started = [(item, self._pool.submit(work, item)) for item in items]
        for item, future in started:
            try:
                yield item, future.result()
            except StoreError:
                raise
            except AuditError as exc:
                yield item, exc
