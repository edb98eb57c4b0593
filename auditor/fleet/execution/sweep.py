"""The pipeline of a sweep. Each stage runs ahead of the next, by a bounded number of items:

    repositories ─► survey ─► images that are new ─► layers that are new ─► audit ─► store
                    (HEADs)    (manifests, configs)   (an Engine)            (this thread)

Every unique layer is read once, every image is audited once: what the store knows is not asked for again. An image is
kept as soon as it is audited, so that a sweep that was killed goes on where it was. Read this file first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from auditor.codec.descriptors import platform_matches
from auditor.core.errors import AuditError, EngineError, NotFound, StoreError
from auditor.fleet.discovery.candidates import Candidate, read_image
from auditor.fleet.discovery.catalog import select_repositories
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.discovery.memory_cache import CachingRepository, DocumentCache, layer_record_cache
from auditor.fleet.discovery.survey import Survey, Surveyor
from auditor.fleet.execution.audit_keys import AuditKeys
from auditor.fleet.execution.engine import Engine
from auditor.fleet.execution.layer_reads import Layers
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.store import ledger, queries, withdrawn
from auditor.fleet.store import presence as spans
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.lease import Lease, hold_lease, sweep_lease_name
from auditor.fleet.store.presence import RepositoryContents
from auditor.fleet.store.withdrawn import Withdrawn
from auditor.images.source import Image
from auditor.pipeline import Request, audit_image
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from auditor.scan import Scanner
from auditor.store.records import Records

_SURVEYS = 4  # repositories that are looked at ahead
_TRANSIENT = "transient"  # is no key: the next sweep audits the image again
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Job:
    """An image that must be audited; `key` names what it is audited under."""

    survey: Survey
    candidate: Candidate
    key: str


@dataclass(frozen=True, slots=True)
class _Opened:
    """A job whose manifest and config are read, or why they are not."""

    job: _Job
    image: Image | AuditError


@dataclass(frozen=True, slots=True)
class _End:
    """Comes after the last job of a repository."""

    survey: Survey


class Sweeper:
    """Runs one sweep. The store, the scanner, the engine and the client of the registry are the caller's."""

    def __init__(self, store: SweepStore, scanner: Scanner, engine: Engine, plan: SweepPlan, client: Client) -> None:
        self._store, self._scanner, self._engine, self._plan, self._client = store, scanner, engine, plan, client
        self._ask = ConcurrencyLimit(plan.parallel)
        self._documents = DocumentCache()
        self._kept = StoredRecords(store, plan.record_bytes)
        self._records = Records(scanner, self._kept, known=layer_record_cache())
        self._keys = AuditKeys(plan, scanner.ruleset.digest)
        self._seen: dict[int, list[str]] = {}

    def run(self) -> int:
        """Sweep; return the sweep's number in the store.

        Raises Unreachable where no registry answers, UsageError, StoreError (also where another process sweeps the same
        now), EngineError.
        """
        scope, digest = str(self._plan.scope), self._plan.scope_digest
        say = self._scanner.progress.say
        with hold_lease(self._store, sweep_lease_name(scope, digest), f"{scope} is being swept", report=say) as lease:
            return self._run(lease)

    def _run(self, lease: Lease) -> int:
        plan = self._plan
        scope, ruleset = str(plan.scope), self._scanner.ruleset.digest
        self._sweep = ledger.begin_sweep(
            self._store, scope, plan.scope_digest, ruleset, plan.clock(), filter_text=plan.filter_text
        )
        self._layers = Layers(
            self._store, self._kept, self._records, self._engine, self._sweep, self._scanner.progress, fresh=plan.fresh
        )
        known = spans.nonempty_repositories(self._store, self._client.host)
        with ExitStack() as stack:
            surveys, requests, images = (
                stack.enter_context(_pool(count, name))
                for count, name in ((_SURVEYS, "survey"), (plan.parallel, "ask"), (plan.parallel, "open"))
            )
            stack.callback(self._client.stop)
            self._surveyor = Surveyor(self._store, self._repository, requests, plan.platform, self._ask)
            wanted = select_repositories(self._client, plan.scope, plan.tag_filter, known)
            jobs = self._jobs(ahead(surveys, self._surveyor.survey, wanted, _SURVEYS))
            for step in self._reading(ahead(images, self._opened, jobs, 2 * plan.parallel)):
                lease.check()
                if isinstance(step, _End):
                    self._end(step.survey)
                else:
                    self._finish(step)
        numbers = queries.numbers(self._store, self._sweep.id)
        ledger.finish_sweep(self._store, self._sweep, plan.clock(), numbers)
        return self._sweep.id

    def _repository(self, name: str) -> Repository:
        return CachingRepository(self._client, name, self._documents)

    def _jobs(self, surveys: Iterable[Survey]) -> Iterator[_Job | _End]:
        """Yield the images that must be audited, and after each repository its end."""
        for survey in surveys:
            self._scanner.progress.say(f"{self._client.host}/{survey.name}")
            seen = self._seen.setdefault(survey.number, [])
            for candidate in survey.candidates:
                key = self._keys.of(survey.selection.settings, candidate)
                if survey.audited.get(candidate.leaf.digest) == key and not self._plan.fresh:
                    seen.append(candidate.leaf.digest)
                else:
                    yield _Job(survey, candidate, key)
            yield _End(survey)

    def _opened(self, job: _Job | _End) -> _Opened | _End:
        """Read an image's manifest and config."""
        if isinstance(job, _End):
            return job
        survey, candidate = job.survey, job.candidate
        try:
            image = self._ask(lambda: read_image(survey.repository, candidate.leaf, candidate.attestations))
        except AuditError as exc:
            return _Opened(job, exc)
        name = f"{self._client.host}/{survey.name}"
        names = tuple(f"{name}:{tag}" for tag in candidate.tags if ":" not in tag)
        return _Opened(job, replace(image, names=names or (f"{name}@{candidate.leaf.digest}",)))

    def _reading(self, steps: Iterable[_Opened | _End]) -> Iterator[_Opened | _End]:
        """Have the layers of the next images read while the first is audited."""
        waiting: deque[_Opened | _End] = deque()
        for step in steps:
            if isinstance(step, _Opened) and isinstance(step.image, Image):
                for layer in step.image.layers:
                    self._layers.want(step.job.survey.name, layer)
            waiting.append(step)
            if len(waiting) > 2 * self._plan.parallel:
                yield waiting.popleft()
        yield from waiting

    def _finish(self, opened: _Opened) -> None:
        """Audit an image, once its layers are read."""
        job = opened.job
        try:
            if isinstance(opened.image, AuditError):
                raise opened.image
            for layer in opened.image.layers:
                self._layers.ready(layer)
            self._audit(job, opened.image)
        except (StoreError, EngineError):
            raise
        except AuditError as exc:
            if not (isinstance(exc, NotFound) and self._vanished(job.survey, job.candidate)):
                job.survey.failed.append((_reference(job.survey, job.candidate), str(exc)))

    def _end(self, survey: Survey) -> None:
        """Note what a repository holds, and what failed."""
        seen = RepositoryContents(
            survey.roots, survey.shown, self._seen.pop(survey.number), survey.listed, complete=not survey.failed
        )
        spans.save_contents(self._store, self._sweep, survey.number, seen)
        self._withdraw(survey, seen)
        if survey.failed:
            ledger.save_failures(self._store, self._sweep, survey.failed)

    def _withdraw(self, survey: Survey, seen: RepositoryContents) -> None:
        """Note which images no tag names any more, and whether they can be pulled."""
        found = withdrawn.find_withdrawn(self._store, self._sweep, survey.number, seen.images)
        answers = self._surveyor.pullable(survey.repository, [image.digest for image in found])
        pullable = {image: answers[image.digest] for image in found}
        shown = [image for image in found if survey.selection.includes(image.tags) and self._is_of_platform(image)]
        withdrawn.save_withdrawn(self._store, self._sweep, survey.number, pullable, shown, complete=seen.complete)

    def _is_of_platform(self, image: Withdrawn) -> bool:
        return image.platform is None or platform_matches(self._plan.platform, image.platform)

    def _audit(self, job: _Job, image: Image) -> None:
        selection = self._plan.selection_for(job.survey.selection.settings)
        request = Request(base=self._plan.base, selection=selection)
        audit = audit_image(image, self._scanner, request, self._records)
        key = _TRANSIENT if audit.transient else job.key
        ledger.save_image(self._store, self._sweep, job.survey.number, key, job.candidate.leaf, audit)
        self._seen[job.survey.number].append(str(image.digest))

    def _vanished(self, survey: Survey, candidate: Candidate) -> bool:
        """Whether no tag leads to an image any more: it was moved or deleted during the sweep."""
        if survey.selection.versions is not None:
            return False
        for tag in candidate.tags:
            try:
                if self._ask(lambda tag=tag: survey.repository.look_up(tag)) == survey.roots[tag]:  # type: ignore[misc]
                    return False
            except NotFound:
                continue
            except AuditError:
                return False
        for tag in candidate.tags:
            survey.roots.pop(tag, None)
        return True


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Map in plan, at most `count` items ahead of whoever takes the results."""
    waiting: deque[object] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > count:
            yield waiting.popleft().result()  # type: ignore[attr-defined]
    while waiting:
        yield waiting.popleft().result()  # type: ignore[attr-defined]


class _pool(ThreadPoolExecutor):  # noqa: N801 - it is used as a function
    """Threads that drop what waits when the sweep ends early."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)


def _reference(survey: Survey, candidate: Candidate) -> str:
    tag = next((tag for tag in candidate.tags if ":" not in tag), None)
    return f"{survey.name}@{candidate.leaf.digest}" if tag is None else f"{survey.name}:{tag}"
