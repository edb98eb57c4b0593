"""The pipeline of a sweep. Each stage runs ahead of the next, by a bounded number of items:

    repositories ─► survey ─► images that are new ─► layers that are new ─► audit ─► store
                    (HEADs)    (manifests, configs)   (an Engine)            (this thread)

Every unique layer is read once, every image is audited once: what the store knows is not asked for again. An image is
kept as soon as it is audited, so that a sweep that was killed goes on where it was. Read this file first.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

from auditor.audit import Request, audit_image
from auditor.config import Registry
from auditor.data import code_digest
from auditor.errors import AuditError, EngineError, NotFound, StoreError
from auditor.fleet import ledger, queries
from auditor.fleet.catalog import Choice, Scope, Wanted, chosen
from auditor.fleet.engine import Engine, Source
from auditor.fleet.layers import Layers
from auditor.fleet.patience import patient
from auditor.fleet.records import DEFAULT_BYTES, StoredRecords, recent_documents, recent_records
from auditor.fleet.store import Store
from auditor.fleet.survey import Candidate, Survey, Surveyor, read_image
from auditor.images.client import Client
from auditor.images.registry import Repository
from auditor.images.source import Image
from auditor.records import Records
from auditor.report.document import report
from auditor.scan import Scanner
from auditor.selection import Selection

_SURVEYS = 4  # repositories that are looked at ahead
_ROOMS = ("", "advice", "codec", "detect", "images", "layers", "provenance", "report", "scan", "unpack")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be swept, and how. `clock` returns the time as RFC 3339 in UTC.

    With `fresh`, nothing that was kept is used: every layer is read again, every image audited again.
    """

    scope: Scope
    choice: Choice
    source: Source
    clock: Callable[[], str]
    selection: Selection = field(default_factory=Selection)
    platform: str | None = None
    base: str | None = None
    parallel: int = 8
    fresh: bool = False
    record_bytes: int = DEFAULT_BYTES

    @property
    def scope_digest(self) -> str:
        """Tells sweeps of the same from sweeps of other things."""
        choice = {**asdict(self.choice), "registries": {k: asdict(v) for k, v in self.choice.registries.items()}}
        listed = sorted(map(str, self.scope.listed))
        text = json.dumps([str(self.scope), listed, choice, self.platform], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Job:
    """A candidate on its way; None where all of its repository are."""

    survey: Survey
    candidate: Candidate | None
    key: str = ""
    image: Image | AuditError | None = None


class Sweeper:
    """Runs one sweep. The store, the scanner and the engine are the caller's."""

    def __init__(self, store: Store, scanner: Scanner, engine: Engine, order: Order) -> None:
        self._store, self._scanner, self._engine, self._order = store, scanner, engine, order
        self._client: Client = order.source.client()
        self._documents = recent_documents()
        self._kept = StoredRecords(store, order.record_bytes)
        self._records = Records(scanner, self._kept, known=recent_records())
        self._complete: list[int] = []
        self._seen: dict[int, list[str]] = {}

    def run(self) -> int:
        """Sweep; return the sweep's number in the store. Raises UsageError, StoreError, and what a bare start meets."""
        order = self._order
        ruleset = self._scanner.ruleset.digest
        self._sweep = ledger.begin(self._store, str(order.scope), order.scope_digest, ruleset, order.clock())
        self._layers = Layers(
            self._store, self._kept, self._records, self._engine, self._sweep, self._scanner.progress, fresh=order.fresh
        )
        with ExitStack() as stack:
            surveys, requests, images = (
                stack.enter_context(_pool(count, name))
                for count, name in ((_SURVEYS, "survey"), (order.parallel, "ask"), (order.parallel, "open"))
            )
            stack.callback(self._client.stop)
            surveyor = Surveyor(self._store, self._repository, requests, order.platform)
            wanted = chosen(self._client, order.scope, order.choice)
            jobs = self._jobs(ahead(surveys, surveyor.survey, wanted, _SURVEYS))
            for job in self._reading(ahead(images, self._opened, jobs, 2 * order.parallel)):
                self._finish(job)
        return self._close()

    def _repository(self, name: str) -> Repository:
        return Repository(self._client, name, self._documents)

    def _jobs(self, surveys: Iterable[Survey]) -> Iterator[_Job]:
        """Yield the images that must be audited, and after each repository its end."""
        for survey in surveys:
            self._scanner.progress.say(f"{self._client.host}/{survey.name}")
            seen = self._seen.setdefault(survey.number, [])
            for candidate in survey.candidates:
                key = self._key(survey.wanted, candidate)
                if survey.audited.get(candidate.leaf.digest) == key and not self._order.fresh:
                    seen.append(candidate.leaf.digest)
                else:
                    yield _Job(survey, candidate, key)
            yield _Job(survey, None)

    def _opened(self, job: _Job) -> _Job:
        """Read an image's manifest and config."""
        if job.candidate is None:
            return job
        try:
            image = patient(lambda: self._named(job.survey, job.candidate))
        except AuditError as exc:
            return replace(job, image=exc)
        return replace(job, image=image)

    def _named(self, survey: Survey, candidate: Candidate | None) -> Image:
        assert candidate is not None  # noqa: S101 - it was looked at before
        image = read_image(survey.repository, candidate.leaf, candidate.attestations)
        name = f"{self._client.host}/{survey.name}"
        names = tuple(f"{name}:{tag}" for tag in candidate.tags if ":" not in tag)
        return replace(image, names=names or (f"{name}@{candidate.leaf.digest}",))

    def _reading(self, jobs: Iterable[_Job]) -> Iterator[_Job]:
        """Have the layers of the next images read while the first is audited."""
        waiting: deque[_Job] = deque()
        for job in jobs:
            if isinstance(job.image, Image):
                for layer in job.image.layers:
                    self._layers.want(job.survey.name, layer)
            waiting.append(job)
            if len(waiting) > 2 * self._order.parallel:
                yield waiting.popleft()
        yield from waiting

    def _finish(self, job: _Job) -> None:
        """Audit an image whose layers are read; at the end of a repository, note what it holds."""
        survey, candidate = job.survey, job.candidate
        if candidate is None:
            ledger.touch(self._store, self._sweep, survey.number, survey.tags, self._seen.pop(survey.number))
            ledger.keep_failures(self._store, self._sweep, survey.failed)
            if not survey.failed:
                self._complete.append(survey.number)
            return
        try:
            if isinstance(job.image, AuditError):
                raise job.image
            assert job.image is not None  # noqa: S101 - it is opened
            for layer in job.image.layers:
                self._layers.ready(layer)
            self._audit(job, job.image)
        except (StoreError, EngineError):
            raise
        except AuditError as exc:
            if not (isinstance(exc, NotFound) and self._vanished(survey, candidate)):
                survey.failed.append((_reference(survey, candidate), str(exc)))

    def _audit(self, job: _Job, image: Image) -> None:
        rules = job.survey.wanted.rules
        request = Request(base=self._order.base, selection=_narrowed(self._order.selection, rules))
        audit = audit_image(image, self._scanner, request, self._records)
        masked = report(audit, self._sweep.started)
        ledger.keep_image(self._store, self._sweep, job.survey.number, job.key, audit, masked)
        self._seen[job.survey.number].append(str(image.digest))

    def _vanished(self, survey: Survey, candidate: Candidate) -> bool:
        """Whether no tag leads to an image any more: it was moved or deleted during the sweep."""
        if survey.wanted.versions is not None:
            return False
        for tag in candidate.tags:
            try:
                if patient(lambda tag=tag: survey.repository.look_up(tag)) == survey.tags[tag]:  # type: ignore[misc]
                    return False
            except NotFound:
                continue
            except AuditError:
                return False
        for tag in candidate.tags:
            survey.tags.pop(tag, None)
        return True

    def _key(self, wanted: Wanted, candidate: Candidate) -> str:
        """Name all that an image's findings depend on, besides its bytes."""
        selection = _narrowed(self._order.selection, wanted.rules)
        by_name = selection.exclude_images or any(item.image for item in selection.ignore)
        plain = {key: sorted(map(str, value)) if isinstance(value, frozenset) else str(value)
                 for key, value in ((name, getattr(selection, name)) for name in selection.__slots__)}  # fmt: skip
        parts = [
            self._scanner.ruleset.digest,
            code_digest(*_ROOMS),
            self._order.base,
            plain,
            [item.digest for item in candidate.attestations],
            candidate.tags if by_name else (),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _close(self) -> int:
        """Count, and end the sweep."""
        ledger.went_through(self._store, self._sweep, self._complete)
        numbers = queries.numbers(self._store, self._sweep.id)
        ledger.finish(self._store, self._sweep, self._order.clock(), numbers)
        return self._sweep.id


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Map in order, at most `count` items ahead of whoever takes the results."""
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


def _narrowed(selection: Selection, rules: Registry) -> Selection:
    """Add what the config file leaves out of this registry."""
    exclude = rules.exclude
    return replace(
        selection,
        exclude_paths=(*selection.exclude_paths, *exclude.paths),
        exclude_rules=selection.exclude_rules | set(exclude.rules),
        exclude_images=(*selection.exclude_images, *exclude.images),
    )


def _reference(survey: Survey, candidate: Candidate) -> str:
    tag = next((tag for tag in candidate.tags if ":" not in tag), None)
    return f"{survey.name}@{candidate.leaf.digest}" if tag is None else f"{survey.name}:{tag}"
