"""Pipeline of a sweep. Each stage works ahead of the next by a bounded number of items:

    repositories ─► survey ─► new images ──────────► new layers ─► audit ─► store
                    (HEADs)   (manifests, configs)   (an Engine)   (this thread)

Every distinct layer is read once and every image audited once; stored results are not requested again. Images
are stored as soon as they are audited, a few at a time, so a killed sweep continues where it stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from auditor.codec.descriptors import platform_matches
from auditor.core.dataclass import dataclass
from auditor.core.progress import Progress
from auditor.core.text import plural
from auditor.fleet.discovery.catalog import RepositorySelection, invalid_names, select_repositories
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.discovery.memory_cache import CachingRepository, DocumentCache
from auditor.fleet.discovery.survey import Survey, Surveyor
from auditor.fleet.execution.ahead import ahead, ahead_together
from auditor.fleet.execution.attestor import indexes_of
from auditor.fleet.execution.audit_keys import AuditKeys
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.store import ledger, queries, withdrawn
from auditor.fleet.store import presence as spans
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lease import Lease, hold_lease, sweep_lease_name
from auditor.fleet.store.observations import StoredRepository, save_unchanged, stored_repositories
from auditor.fleet.store.presence import RepositoryContents, Sweep
from auditor.fleet.store.withdrawn import Withdrawn
from auditor.registry.client import Client
from auditor.registry.repository import Repository

if TYPE_CHECKING:
    from auditor.fleet.execution.image_audits import ImageAudits, Job, Opened

_SURVEYS = 4  # repositories surveyed ahead
_AHEAD, _AHEAD_BYTES = 128, 8 << 20
"""Images, new layers and bytes of JSON beyond the image that is audited; enough for all workers of a cluster."""
_TOGETHER = 16  # images of a repository that are stored at a time, if their layers are read
_LOOKED_UP = 32  # layers, after which no further image is added to a look-up
_BATCH = 100  # repositories read from the store at a time, and unchanged ones written


@dataclass(frozen=True, slots=True)
class _End:
    """Marker after the last job of a repository."""

    survey: Survey


class Sweeper:
    """Runs one sweep. The caller owns store and client. `ruleset` is the digest of the rules.

    `open_audits` is called in the thread of `run` for the first new image, if there is one.
    """

    def __init__(
        self,
        store: SweepStore,
        plan: SweepPlan,
        client: Client,
        ruleset: str,
        progress: Progress,
        open_audits: Callable[[Sweep, ConcurrencyLimit], ImageAudits],
    ) -> None:
        self._store, self._plan, self._client, self._ruleset = store, plan, client, ruleset
        self._progress, self._open_audits = progress, open_audits
        self._audits: ImageAudits | None = None
        self._limit = ConcurrencyLimit(plan.parallel)
        self._documents = DocumentCache()
        self._keys = AuditKeys(plan, ruleset)
        self._seen: dict[int, list[str]] = {}
        self._unchanged: list[int] = []
        self._attached = 0
        self._is_unchanged = True
        self._invalid: list[str] = []

    def run(self, held: Lease | None = None) -> int:
        """Run the sweep; return its number in the store. `held` is the lease of the sweep, if the caller holds it.

        Raises Unreachable if the registry does not answer, StoreError (also if another process runs the same sweep),
        UsageError or EngineError.
        """
        with nullcontext(held) if held else sweep_lease(self._store, self._plan, self._progress) as lease:
            return self._run(lease)

    def _run(self, lease: Lease) -> int:
        plan = self._plan
        scope = str(plan.scope)
        self._sweep = ledger.begin_sweep(
            self._store, scope, plan.scope_digest, self._ruleset, plan.clock(), filter_text=plan.filter_text
        )
        self._is_unchanged = not self._sweep.resumed  # the killed part may have found changes
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
            repositories = select_repositories(self._client, plan.scope, plan.tag_filter, known, self._invalid.extend)
            jobs = self._jobs(ahead(surveys, self._surveyor.survey, self._stored(repositories), _SURVEYS))
            for step in self._reading(ahead_together(images, self._opened, jobs, 2 * plan.parallel, _TOGETHER)):
                lease.check()
                if not isinstance(step, _End):
                    for job in self._new_images().finish(step):
                        self._seen[job.survey.repository_id].append(job.candidate.leaf.digest)
                elif step.survey.is_unchanged:
                    self._end_unchanged(step.survey)
                else:
                    self._end(step.survey)
            self._save_unchanged()
        if self._invalid:
            self._is_unchanged = False
            ledger.save_failures(self._store, self._sweep, invalid_names("", self._invalid, "repository"))
        if self._attached:
            tags = plural(self._attached, "tag")
            self._progress.note(f"{scope}: {tags} of signatures, attestations and SBOMs left out: they name no image")
        counts = queries.repeated_counts(self._store, self._sweep.id) if self._is_unchanged else None
        counts = counts or queries.counts(self._store, self._sweep.id)
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

    def _jobs(self, surveys: Iterable[Survey]) -> Iterator[Job | _End]:
        """Yield the images to audit, and a marker after each repository."""
        for survey in surveys:
            self._progress.say(f"{self._client.host}/{survey.name}")
            seen = self._seen.setdefault(survey.repository_id, []) if not survey.is_unchanged else []
            for candidate in survey.candidates:
                key = self._keys.of(survey.selection.settings, candidate, partial(indexes_of, survey, candidate))
                if survey.known.audit_keys.get(candidate.leaf.digest) == key and not self._plan.fresh:
                    seen.append(candidate.leaf.digest)
                else:
                    yield self._new_images().job(survey, candidate, key)
            yield _End(survey)

    def _new_images(self) -> ImageAudits:
        """Return the audits of new images, opened for the first one."""
        if self._audits is None:
            self._audits = self._open_audits(self._sweep, self._limit)
        return self._audits

    def _opened(self, job: Job | _End) -> Opened | _End:
        """Read manifest and config of an image."""
        return job if isinstance(job, _End) else self._new_images().open(job)

    def _reading(self, runs: Iterable[Sequence[Opened | _End]]) -> Iterator[list[Opened] | _End]:
        """Request the layers of the next images while those of the first one are read. Yield images that are read."""
        waiting: deque[Opened | _End] = deque()
        size = 0
        for steps in chain.from_iterable(map(_by_layers, runs)):
            if images := [step for step in steps if not isinstance(step, _End)]:
                self._new_images().request_layers(images)
            for step in steps:
                size += 0 if isinstance(step, _End) else step.size
                waiting.append(step)
                while waiting and (self._is_due(waiting) or self._is_far_ahead(len(waiting), size)):
                    together = self._together(waiting)
                    size -= 0 if isinstance(together, _End) else sum(opened.size for opened in together)
                    yield together
        while waiting:
            yield self._together(waiting)

    def _together(self, waiting: deque[Opened | _End]) -> list[Opened] | _End:
        """Take the first step; if it is an image, with those after it that are read."""
        first = waiting.popleft()
        if isinstance(first, _End):
            return first
        found = [first]
        while len(found) < _TOGETHER and waiting and not isinstance(waiting[0], _End) and self._is_ready(waiting[0]):
            found.append(waiting.popleft())  # type: ignore[arg-type]
        return found

    def _is_due(self, waiting: deque[Opened | _End]) -> bool:
        """Whether the first step is read, and no further image of its repository follows, or enough are waiting."""
        return (isinstance(waiting[-1], _End) or len(waiting) >= _TOGETHER) and self._is_ready(waiting[0])

    def _is_ready(self, step: Opened | _End) -> bool:
        return isinstance(step, _End) or self._new_images().is_read(step)

    def _is_far_ahead(self, images: int, size: int) -> bool:
        return images > _AHEAD or size > _AHEAD_BYTES or self._new_images().requested > _AHEAD

    def _end(self, survey: Survey) -> None:
        """Store the contents and failures of a repository."""
        self._is_unchanged = False
        is_settled = (self._audits is None or self._audits.settle(survey)) and not survey.failures
        seen = RepositoryContents(
            survey.digests,
            survey.selected_tags,
            self._seen.pop(survey.repository_id),
            survey.all_tags,
            complete=not survey.failures,
            state=survey.state if is_settled else None,
            attached=survey.attached,
        )
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
            self._is_unchanged &= not found  # they may be deleted by now
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


def sweep_lease(store: SweepStore, plan: SweepPlan, progress: Progress) -> AbstractContextManager[Lease]:
    """Hold the lease of a sweep. Raises StoreError if another process runs the same sweep."""
    scope = str(plan.scope)
    name = sweep_lease_name(scope, plan.scope_digest)
    return hold_lease(store, name, f"{scope} is being swept", report=progress.say)


def _by_layers(steps: Sequence[Opened | _End]) -> Iterator[list[Opened | _End]]:
    """Yield steps in groups of some layers, or one image."""
    group: list[Opened | _End] = []
    layers = 0
    for step in steps:
        group.append(step)
        layers += 0 if isinstance(step, _End) else step.layers
        if layers >= _LOOKED_UP:
            yield group
            group, layers = [], 0
    if group:
        yield group


class _pool(ThreadPoolExecutor):  # noqa: N801 - used like a function
    """Thread pool that cancels waiting tasks when the sweep ends early."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)
