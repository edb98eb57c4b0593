"""Survey of a repository: its tags, their manifests, and the images in those, with as few requests as possible.

A HEAD request resolves a tag in the store: registries do not count it as a pull. A stored manifest is not fetched.
If every tag names the manifest that it named before, nothing else is read. A tag that disappears during the survey is
no error, nor a repository of a catalog that the registry no longer knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import field, replace
from typing import TypeVar

from auditor.codec.descriptors import Descriptor
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import (
    AuditError,
    ImageError,
    IncompleteList,
    NotFound,
    StoreError,
    Unauthorized,
    Unreachable,
    Unsupported,
)
from auditor.core.options import RegistryOptions
from auditor.fleet.discovery.candidates import Candidate, group_by_image, is_digest_tag
from auditor.fleet.discovery.catalog import (
    RepositoryOrigin,
    RepositorySelection,
    invalid_names,
    match_tags,
    newest_tags,
)
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.known import NOTHING, KnownRepository, known_repository
from auditor.fleet.store.manifests import Leaf, Manifest, save_manifests, stored_created_times, stored_leaves
from auditor.fleet.store.observations import ObservedState, StoredRepository, names_digest
from auditor.registry.reference import Reference
from auditor.registry.repository import Repository, is_name_unknown, is_tag

_MAX_UNANSWERED = 20  # consecutive repositories
T = TypeVar("T")


@dataclass(slots=True)
class Survey:
    """Result of the survey of one repository. `stored` and `known` are of the store before.

    If the repository `is_unchanged`, its newest observation holds, `known` is empty, and of the following members only
    `all_tags` and `digests` are set. `state` is the one to store if everything is audited.

    `all_tags` are all its tags, None if only some were requested. `digests` maps each resolved tag to its manifest;
    `selected_tags` are those that the filter selects; `attached` of them name signatures, attestations or SBOMs, which
    are no images. `failures` are pairs of reference and reason. `unanswered` is the last error of a request that the
    registry did not answer; `has_answer` tells whether it answered another one. `listed_again` are the tags of a
    second list.
    """

    selection: RepositorySelection
    stored: StoredRepository
    repository: Repository
    known: KnownRepository = NOTHING
    is_unchanged: bool = False
    names: bytes = b""
    all_tags: frozenset[str] | None = None
    digests: dict[str, Digest] = field(default_factory=dict)
    selected_tags: tuple[str, ...] = ()
    attached: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    has_answer: bool = False
    unanswered: AuditError | None = None
    listed_again: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """Name of the repository."""
        return self.selection.name

    @property
    def repository_id(self) -> int:
        """Id of the repository in the store."""
        return self.stored.id

    @property
    def state(self) -> ObservedState:
        """State of the repository with the digests found."""
        return ObservedState.of(self.names, self.digests)


class Surveyor:
    """Surveys repositories; the threads of a pool resolve their tags.

    `open_repository` opens a repository of the registry, and `limit` bounds the requests at a time. `basis` returns a
    text that is equal for sweeps with equal filters, rules and options; `fresh` sweeps audit every image again.
    """

    def __init__(
        self,
        store: SweepStore,
        open_repository: Callable[[str], Repository],
        pool: Executor,
        platform: str | None,
        limit: ConcurrencyLimit,
        basis: Callable[[RegistryOptions], str],
        *,
        fresh: bool,
    ) -> None:
        self._store, self._open, self._pool, self._platform, self._limit = store, open_repository, pool, platform, limit
        self._basis, self._fresh = basis, fresh
        self._unanswered = 0

    def survey(self, item: tuple[RepositorySelection, StoredRepository]) -> Survey:
        """Survey one repository. Failures become part of the result, unless the store or the registry is down."""
        with self._limit.turn():
            found = self._survey(*item)
        self._count_unanswered(found)
        return found

    def _survey(self, selection: RepositorySelection, stored: StoredRepository) -> Survey:
        found = Survey(selection, stored, self._open(selection.name))
        try:
            versions = self._versions(found)
        except (ImageError, Unreachable) as exc:
            _note(found, exc)
            if not _is_deleted(selection, exc):
                found.failures.append((selection.name, _listing_error(exc)))
                return found
            found.all_tags, versions = frozenset(), []
        self._look_up(found, versions)
        return found

    def pullable(self, repository: Repository, digests: Iterable[str]) -> dict[str, bool | None]:
        """Ask by HEAD which digests can be pulled; the answer is None after a failed request."""
        answers: dict[str, bool | None] = {}
        for digest, outcome in self._each(lambda text: self._limit(lambda: repository.look_up(text)), digests):
            if isinstance(outcome, NotFound):
                answers[digest] = False
            else:
                answers[digest] = None if isinstance(outcome, AuditError) else True
        return answers

    def _versions(self, found: Survey) -> list[str]:
        selection = found.selection
        if selection.versions is not None:
            return list(selection.versions)
        listed = self._limit(found.repository.tag_names)
        found.all_tags = frozenset(filter(is_tag, listed))
        if invalid := match_tags(set(listed) - found.all_tags, selection.settings):
            found.failures += invalid_names(f"{found.name}:", invalid, "tag")
        return match_tags(found.all_tags, selection.settings)

    def _look_up(self, found: Survey, versions: Sequence[str]) -> None:
        """Resolve the tags; if their names are as before, look first whether their digests are too."""
        basis, stored = self._basis(found.selection.settings), found.stored
        found.names = names_digest(basis, found.all_tags, versions)
        answers: dict[str, Digest | AuditError | None] = {}
        is_complete = not found.failures  # an unchanged repository has none
        if not self._fresh and is_complete and stored.state is not None and stored.state.names == found.names:
            answers = dict(self._each(lambda text: self._limit(lambda: found.repository.look_up(text)), versions))
            found.digests = {version: answer for version, answer in answers.items() if isinstance(answer, Digest)}
            if found.state == stored.state:
                found.has_answer = bool(versions)
                found.is_unchanged = True
                return
        found.known = known_repository(self._store, stored.id)
        self._resolve(found, versions, answers)

    def _resolve(
        self, found: Survey, versions: Sequence[str], answers: Mapping[str, Digest | AuditError | None]
    ) -> None:
        """Resolve tags, some of which were looked up, and read their manifests where the store lacks them."""
        known = found.known
        stored = {**known.leaves, **stored_leaves(self._store, [text for text in versions if ":" in text])}
        roots: dict[str, Descriptor] = {}
        for version, root in self._each(
            lambda text: self._resolve_tag(found.repository, text, known.tags, stored, answers), versions
        ):
            if isinstance(root, AuditError):
                self._add_failure(found, version, root)
            else:
                found.has_answer = True
                roots[version] = root
        leaves = {**stored, **stored_leaves(self._store, {root.digest for root in roots.values()} - stored.keys())}
        leaves |= self._read_manifests(found, {v: root for v, root in roots.items() if root.digest not in leaves})
        digests = {version: root.digest for version, root in roots.items() if root.digest in leaves}
        times = stored_created_times(self._store, set(digests.values())) if found.selection.settings.newest else {}
        created = {version: times.get(digest) for version, digest in digests.items()}
        selected = newest_tags([*digests], created, found.selection.settings.newest)
        found.digests, found.selected_tags = digests, tuple(selected)
        parts = {version: _leaves_of(version, digests[version], leaves) for version in selected}
        found.attached = sum(is_digest_tag(version) and _has_no_image(own) for version, own in parts.items())
        found.candidates = group_by_image(parts, self._platform)

    def _resolve_tag(
        self,
        repository: Repository,
        version: str,
        known: Collection[str],
        parts: Collection[Digest],
        answers: Mapping[str, Digest | AuditError | None],
    ) -> Descriptor:
        """Return the manifest that a tag names; it is not fetched if its leaves are among `parts`."""
        if version in answers or version in known or version in parts:
            digest = answers[version] if version in answers else self._limit(lambda: repository.look_up(version))
            if isinstance(digest, AuditError):
                raise digest
            if digest is not None and digest in parts:
                return Descriptor("", digest, None, {}, None)
        digest_given = Digest(version) if ":" in version else None
        reference = Reference(repository.client.host, repository.name, None if digest_given else version, digest_given)
        return self._limit(lambda: repository.resolve(reference))

    def _read_manifests(self, found: Survey, roots: Mapping[str, Descriptor]) -> dict[Digest, tuple[Leaf, ...]]:
        """Read the leaves of manifests that the store lacks, and store them; return them by manifest."""
        from auditor.fleet.discovery.image_reads import read_leaves  # image formats, which unchanged tags do not need

        def read(version: str) -> Manifest:
            leaves, created = self._limit(lambda: read_leaves(found.repository, version, roots[version], self._store))
            return Manifest(roots[version].digest, leaves, created)

        read_ones: dict[Digest, Manifest] = {}
        versions: dict[Digest, list[str]] = {}
        for version in sorted(roots, key=is_digest_tag, reverse=True):  # such a tag tells signatures from images
            versions.setdefault(roots[version].digest, []).append(version)
        for version, outcome in self._each(read, [same[0] for same in versions.values()]):
            if isinstance(outcome, AuditError):
                for same in versions[roots[version].digest]:
                    self._add_failure(found, same, outcome)
            else:
                read_ones[outcome.digest] = outcome
        save_manifests(self._store, list(read_ones.values()))
        return {digest: manifest.leaves for digest, manifest in read_ones.items()}

    def _add_failure(self, found: Survey, version: str, error: AuditError) -> None:
        _note(found, error)
        note = ""
        if isinstance(error, NotFound) and found.selection.versions is None:
            if not self._is_listed(found, version):
                return  # deleted after the tags were listed
            note = ", although the registry lists this tag"
        separator = "@" if ":" in version else ":"
        found.failures.append((f"{found.name}{separator}{version}", f"{error}{note}"))

    def _is_listed(self, found: Survey, tag: str) -> bool:
        """Whether a second list has a tag; also true if it can't be read."""
        if found.listed_again is None:
            try:
                found.listed_again = frozenset(self._limit(found.repository.tag_names))
            except NotFound:
                found.listed_again = frozenset()
            except AuditError:
                found.listed_again = found.all_tags or frozenset()
        return tag in found.listed_again

    def _count_unanswered(self, found: Survey) -> None:
        """Count consecutive repositories without an answer. Raises Unreachable if there are too many.

        One repository alone does not tell: its storage may be damaged, so that each of its tags is an error 500.
        """
        if found.has_answer:
            self._unanswered = 0
        elif found.unanswered is not None:
            self._unanswered += 1
        if self._unanswered >= _MAX_UNANSWERED:  # waiting for each of thousands would take hours
            raise Unreachable(
                f"{found.unanswered}. The registry no longer answers; run the same command again to continue the sweep."
            )

    def _each(self, work: Callable[[str], T], items: Iterable[str]) -> list[tuple[str, T | AuditError]]:
        """Return the result or the error of each item, in order; threads help if the registry is distant.

        Raises StoreError.
        """
        own = list(items)
        left = iter(own)  # threads share it
        found: dict[str, T | AuditError] = {}

        def process(item: str) -> None:
            try:
                found[item] = work(item)
            except StoreError:
                raise
            except AuditError as exc:
                found[item] = exc

        def help_out() -> None:
            for item in left:
                process(item)

        while self._limit.is_near and (item := next(left, None)) is not None:
            process(item)
        helpers = [self._pool.submit(help_out) for _ in range(min(len(own) - len(found), self._limit.count))]
        help_out()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        return [(item, found[item]) for item in own]


def _note(found: Survey, error: AuditError) -> None:
    """Note whether a failed request was answered."""
    answered = Unauthorized | Unsupported | IncompleteList
    if isinstance(error, Unreachable) and not isinstance(error, answered):
        found.unanswered = error
    else:
        found.has_answer = True


def _is_deleted(selection: RepositorySelection, error: AuditError) -> bool:
    """Whether an error of the list of tags says that the repository was deleted, or has no tag."""
    if not isinstance(error, NotFound) or selection.origin is RepositoryOrigin.NAMED:
        return False
    return selection.origin is RepositoryOrigin.STORED or is_name_unknown(error)


def _listing_error(error: AuditError) -> str:
    if not isinstance(error, NotFound):
        return str(error)
    if is_name_unknown(error):
        return f"{error}. Is the name of the repository correct?"
    return f"{error}; without an error code of the OCI specification: it may come from a proxy or web server"


def _leaves_of(version: str, digest: Digest, leaves: dict[Digest, tuple[Leaf, ...]]) -> tuple[Leaf, ...]:
    """Return the leaves of a version. A tag that is not made of a digest always names an image."""
    own = leaves.get(digest, ())
    if is_digest_tag(version):
        return own
    return tuple(
        Leaf(replace(leaf.descriptor, annotations={}))
        if leaf.subject is not None and leaf.descriptor.digest == digest
        else leaf
        for leaf in own
    )


def _has_no_image(leaves: Sequence[Leaf]) -> bool:
    return bool(leaves) and all(leaf.subject is not None for leaf in leaves)
