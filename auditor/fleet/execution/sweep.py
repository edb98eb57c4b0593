"""Pipeline of a sweep. Each stage works ahead of the next by a bounded number of items:

    repositories ─► survey ─► new images ──────────► new layers ─► audit ─► store
                    (HEADs)   (manifests, configs)   (an Engine)   (this thread)

Every distinct layer is read once and every image audited once; stored results are not requested again. An image
is stored as soon as it is audited, so a killed sweep continues where it stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

from auditor.codec.descriptors import platform_matches
from auditor.core.errors import AuditError, EngineError, NotFound, StoreError
from auditor.core.text import plural
from auditor.fleet.discovery.candidates import Candidate, read_image
from auditor.fleet.discovery.catalog import RepositorySelection, select_repositories
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.discovery.memory_cache import CachingRepository, DocumentCache, layer_record_cache
from auditor.fleet.discovery.survey import Survey, Surveyor
from auditor.fleet.execution.attestor import index_images, indexes_of, is_attestable
from auditor.fleet.execution.audit_keys import AuditKeys
from auditor.fleet.execution.engine import Engine
from auditor.fleet.execution.layer_reads import LayerReads
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.store import ledger, queries, withdrawn
from auditor.fleet.store import presence as spans
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.lease import Lease, hold_lease, sweep_lease_name
from auditor.fleet.store.observations import StoredRepository, save_unchanged, stored_repositories
from auditor.fleet.store.presence import RepositoryContents
from auditor.fleet.store.withdrawn import Withdrawn
from auditor.images.source import Image
from auditor.pipeline import Request, audit_image
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from auditor.scan import Scanner
from auditor.store.records import Records

_SURVEYS = 4  # repositories surveyed ahead
_BATCH = 100  # repositories read from the store at a time, and unchanged ones written
_TRANSIENT = "transient"  # equal to no audit key: the next sweep audits the image again
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Job:
    """Image to audit under `key`."""

    survey: Survey
    candidate: Candidate
    key: str


@dataclass(frozen=True, slots=True)
class _Opened:
    """Job with its manifest and config, or the error that prevented reading them."""

    job: _Job
    image: Image | AuditError


@dataclass(frozen=True, slots=True)
class _End:
    """Marker after the last job of a repository."""

    survey: Survey


class Sweeper:
    """Runs one sweep. The caller owns store, scanner, engine and client."""

    def __init__(self, store: SweepStore, scanner: Scanner, engine: Engine, plan: SweepPlan, client: Client) -> None:
        self._store, self._scanner, self._engine, self._plan, self._client = store, scanner, engine, plan, client
        self._limit = ConcurrencyLimit(plan.parallel)
        self._documents = DocumentCache()
        self._kept = StoredRecords(store, plan.record_bytes)
        self._records = Records(scanner, self._kept, known=layer_record_cache())
        self._keys = AuditKeys(plan, scanner.ruleset.digest)
        self._seen: dict[int, list[str]] = {}
        self._unsettled: set[int] = set()  # repositories with images to audit or attest again
        self._unchanged: list[int] = []
        self._attached = 0
        self._unattested: dict[int, dict[str, str]] = {}

    def run(self) -> int:
        """Run the sweep; return its number in the store.

        Raises Unreachable if the registry does not answer, StoreError (also if another process runs the same sweep),
        UsageError or EngineError.
        """
        scope, digest = str(self._plan.scope), self._plan.scope_digest
        report = self._scanner.progress.say
        with hold_lease(
            self._store, sweep_lease_name(scope, digest), f"{scope} is being swept", report=report
        ) as lease:
            return self._run(lease)

    def _run(self, lease: Lease) -> int:
        plan = self._plan
        scope, ruleset, report = str(plan.scope), self._scanner.ruleset.digest, self._scanner.progress.note
        self._sweep = ledger.begin_sweep(
            self._store, scope, plan.scope_digest, ruleset, plan.clock(), filter_text=plan.filter_text
        )
        self._layers = LayerReads(
            self._store, self._kept, self._records, self._engine, self._sweep, self._scanner.progress, fresh=plan.fresh
        )
        known = spans.nonempty_repositories(self._store, self._client.host)
        with ExitStack() as stack:
            surveys, requests, images = (
                stack.enter_context(_pool(count, name))
                for count, name in ((_SURVEYS, "survey"), (plan.parallel, "ask"), (plan.parallel, "open"))
            )
            stack.callback(self._client.stop)
            self._surveyor = Surveyor(
                self._store,
                self._repository,
                requests,
                plan.platform,
                self._limit,
                self._keys.basis,
                fresh=plan.fresh,
            )
            repositories = select_repositories(self._client, plan.scope, plan.tag_filter, known)
            jobs = self._jobs(ahead(surveys, self._surveyor.survey, self._stored(repositories), _SURVEYS))
            for step in self._reading(ahead(images, self._opened, jobs, 2 * plan.parallel)):
                lease.check()
                if not isinstance(step, _End):
                    self._finish(step)
                elif step.survey.is_unchanged:
                    self._end_unchanged(step.survey)
                else:
                    self._end(step.survey)
            self._save_unchanged()
        if self._attached:
            tags = plural(self._attached, "tag")
            report(f"{scope}: {tags} of signatures, attestations and SBOMs left out: they name no image")
        counts = queries.counts(self._store, self._sweep.id)
        lease.check()
        ledger.finish_sweep(self._store, self._sweep, plan.clock(), counts)
        return self._sweep.id

    def _repository(self, name: str) -> Repository:
        return CachingRepository(self._client, name, self._documents)

    def _stored(
        self, selections: Iterable[RepositorySelection]
    ) -> Iterator[tuple[RepositorySelection, StoredRepository]]:
        """Yield repositories with what the store has of them, read for many at a time."""
        waiting = iter(selections)
        while batch := list(islice(waiting, _BATCH)):
            names = [selection.name for selection in batch]
            yield from zip(batch, stored_repositories(self._store, self._client.host, names), strict=True)

    def _jobs(self, surveys: Iterable[Survey]) -> Iterator[_Job | _End]:
        """Yield the images to audit, and a marker after each repository."""
        for survey in surveys:
            self._scanner.progress.say(f"{self._client.host}/{survey.name}")
            seen = self._seen.setdefault(survey.repository_id, []) if not survey.is_unchanged else []
            for candidate in survey.candidates:
                key = self._keys.of(survey.selection.settings, candidate, partial(indexes_of, survey, candidate))
                if survey.known.audit_keys.get(candidate.leaf.digest) == key and not self._plan.fresh:
                    seen.append(candidate.leaf.digest)
                else:
                    yield _Job(survey, candidate, key)
            yield _End(survey)

    def _opened(self, job: _Job | _End) -> _Opened | _End:
        """Read manifest and config of an image."""
        if isinstance(job, _End):
            return job
        survey, candidate = job.survey, job.candidate
        try:
            image = self._limit(lambda: read_image(survey.repository, candidate.leaf, candidate.attestations))
        except AuditError as exc:
            return _Opened(job, exc)
        name = f"{self._client.host}/{survey.name}"
        names = tuple(f"{name}:{tag}" for tag in candidate.tags if ":" not in tag)
        return _Opened(job, replace(image, names=names or (f"{name}@{candidate.leaf.digest}",)))

    def _reading(self, steps: Iterable[_Opened | _End]) -> Iterator[_Opened | _End]:
        """Request the layers of the next images while the first one is audited."""
        waiting: deque[_Opened | _End] = deque()
        for step in steps:
            if isinstance(step, _Opened) and isinstance(step.image, Image):
                for layer in step.image.layers:
                    self._layers.request(step.job.survey.name, layer)
            waiting.append(step)
            if len(waiting) > 2 * self._plan.parallel:
                yield waiting.popleft()
        yield from waiting

    def _finish(self, opened: _Opened) -> None:
        """Wait for the layers of an image and audit it."""
        job = opened.job
        try:
            if isinstance(opened.image, AuditError):
                raise opened.image
            for layer in opened.image.layers:
                self._layers.wait(layer)
            self._audit(job, opened.image)
        except (StoreError, EngineError):
            raise
        except AuditError as exc:
            if not (isinstance(exc, NotFound) and self._vanished(job.survey, job.candidate)):
                job.survey.failures.append((_reference(job.survey, job.candidate), str(exc)))

    def _end(self, survey: Survey) -> None:
        """Store the contents and failures of a repository."""
        self._attest(survey)
        is_settled = not survey.failures and survey.repository_id not in self._unsettled
        seen = RepositoryContents(
            survey.digests,
            survey.selected_tags,
            self._seen.pop(survey.repository_id),
            survey.all_tags,
            complete=not survey.failures,
            state=survey.state if is_settled else None,
            attached=survey.attached,
        )
        self._unsettled.discard(survey.repository_id)
        found = withdrawn.save_contents(self._store, self._sweep, survey.repository_id, seen)
        self._attached += survey.attached
        if found or self._sweep.resumed:
            self._withdraw(survey, found, complete=seen.complete)
        if survey.failures:
            ledger.save_failures(self._store, self._sweep, survey.failures)

    def _end_unchanged(self, survey: Survey) -> None:
        """Record that a repository is as before, for many at a time; ask for its withdrawn images again."""
        stored = survey.stored
        assert stored.observation is not None  # noqa: S101 - without one, nothing is unchanged
        self._unchanged.append(stored.observation)
        self._attached += stored.attached
        if len(self._unchanged) >= _BATCH:
            self._save_unchanged()
        if stored.has_withdrawn:
            found = withdrawn.still_withdrawn(self._store, self._sweep, stored.id, stored.observation)
            self._withdraw(survey, found, complete=True)

    def _save_unchanged(self) -> None:
        save_unchanged(self._store, self._sweep.id, self._unchanged, resumed=self._sweep.resumed)
        self._unchanged.clear()

    def _withdraw(self, survey: Survey, found: Sequence[Withdrawn], *, complete: bool) -> None:
        """Store whether images without a tag can still be pulled."""
        answers = self._surveyor.pullable(survey.repository, [image.digest for image in found])
        pullable = {image: answers[image.digest] for image in found}
        selected = [image for image in found if survey.selection.includes(image.tags) and self._is_of_platform(image)]
        withdrawn.save_withdrawn(self._store, self._sweep, survey.repository_id, pullable, selected, complete=complete)

    def _is_of_platform(self, image: Withdrawn) -> bool:
        return image.platform is None or platform_matches(self._plan.platform, image.platform)

    def _audit(self, job: _Job, image: Image) -> None:
        selection = self._plan.selection_for(job.survey.selection.settings)
        request = Request(base=self._plan.base, selection=selection)
        audit = audit_image(image, self._scanner, request, self._records)
        key = _TRANSIENT if audit.transient else job.key
        if audit.transient:
            self._unsettled.add(job.survey.repository_id)
        if self._plan.attestor is not None and image.stacked and is_attestable(job.candidate):
            self._plan.attestor.add(job.survey.name, audit)
            self._unattested.setdefault(job.survey.repository_id, {})[str(image.digest)] = key
            key = _TRANSIENT  # until it is attested
        ledger.save_image(self._store, self._sweep, job.survey.repository_id, key, job.candidate.leaf, audit)
        self._seen[job.survey.repository_id].append(str(image.digest))

    def _attest(self, survey: Survey) -> None:
        """Attest the images of a repository that were audited; those that fail are audited again by the next sweep."""
        keys = self._unattested.pop(survey.repository_id, {})
        if self._plan.attestor is None or not keys:
            return
        # With a filter by platform, the audited images need not be all of an index.
        indexes = index_images(survey) if self._plan.platform is None else {}
        missed = self._plan.attestor.finish(survey.repository, indexes)
        if missed:
            self._unsettled.add(survey.repository_id)
        ledger.save_audit_keys(
            self._store, survey.repository_id, {digest: key for digest, key in keys.items() if digest not in missed}
        )

    def _vanished(self, survey: Survey, candidate: Candidate) -> bool:
        """Whether all tags of an image were moved or deleted during the sweep."""
        if survey.selection.versions is not None:
            return False
        for tag in candidate.tags:
            try:
                if self._limit(lambda tag=tag: survey.repository.look_up(tag)) == survey.digests[tag]:  # type: ignore[misc]
                    return False
            except NotFound:
                continue
            except AuditError:
                return False
        for tag in candidate.tags:
            survey.digests.pop(tag, None)
        return True


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Map in order, working at most `count` items ahead of the consumer."""
    waiting: deque[object] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > count:
            yield waiting.popleft().result()  # type: ignore[attr-defined]
    while waiting:
        yield waiting.popleft().result()  # type: ignore[attr-defined]


class _pool(ThreadPoolExecutor):  # noqa: N801 - used like a function
    """Thread pool that cancels waiting tasks when the sweep ends early."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)


def _reference(survey: Survey, candidate: Candidate) -> str:
    tag = next((tag for tag in candidate.tags if ":" not in tag), None)
    return f"{survey.name}@{candidate.leaf.digest}" if tag is None else f"{survey.name}:{tag}"
