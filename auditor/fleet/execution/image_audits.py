"""Audits of the new images of a sweep: manifests and configs, layers, findings, attestations.

A sweep of unchanged tags imports nothing of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import AuditError, EngineError, NotFound, StoreError
from auditor.fleet.discovery.candidates import Candidate
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.discovery.image_reads import read_image
from auditor.fleet.discovery.memory_cache import layer_record_cache
from auditor.fleet.discovery.survey import Survey
from auditor.fleet.execution.attestor import index_images, is_attestable
from auditor.fleet.execution.engine import Engine
from auditor.fleet.execution.layer_reads import LayerReads
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.store.audits import ImageRows, save_audit_keys, save_images
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.presence import Sweep
from auditor.images.source import Image
from auditor.pipeline import Request, audit_image
from auditor.scan import Scanner
from auditor.store.records import Records

_LOADED_TOGETHER = 4  # images whose records are read from the store at a time: the cache of records holds large ones
_FINDINGS_TOGETHER = 1_000  # of images in memory, about 1 kB each, before they are stored
_TRANSIENT = "transient"  # equal to no audit key: the next sweep audits the image again


@dataclass(frozen=True, slots=True)
class Job:
    """Image to audit under `key`."""

    survey: Survey
    candidate: Candidate
    key: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Job with its manifest and config, or the error that prevented reading them."""

    job: Job
    image: Image | AuditError

    @property
    def size(self) -> int:
        """Bytes of the JSON documents that it holds in memory."""
        if isinstance(self.image, AuditError):
            return 0
        return (self.job.candidate.leaf.size or 0) + self.image.config.size

    @property
    def layers(self) -> int:
        """Number of its layers."""
        return 0 if isinstance(self.image, AuditError) else len(self.image.layers)


class ImageAudits:
    """Audits and stores images of one sweep. The caller owns store, scanner and engine; `limit` bounds requests."""

    def __init__(
        self,
        store: SweepStore,
        scanner: Scanner,
        engine: Engine,
        plan: SweepPlan,
        sweep: Sweep,
        limit: ConcurrencyLimit,
    ) -> None:
        self._store, self._scanner, self._plan, self._sweep, self._limit = store, scanner, plan, sweep, limit
        stored = StoredRecords(store, plan.record_bytes)
        self._records = Records(scanner, stored, known=layer_record_cache())
        self._layers = LayerReads(store, stored, self._records, engine, sweep, scanner.progress, fresh=plan.fresh)
        self._unsettled: set[int] = set()  # repositories with images to audit or attest again
        self._unattested: dict[int, dict[str, str]] = {}
        self._failed: dict[int, set[Digest]] = {}

    def job(self, survey: Survey, candidate: Candidate, key: str) -> Job:
        """Return the audit of an image under a key, to be opened."""
        return Job(survey, candidate, key)

    def open(self, job: Job) -> Opened:
        """Read manifest and config of an image."""
        survey, candidate = job.survey, job.candidate
        try:
            image = self._limit(lambda: read_image(survey.repository, candidate.leaf, candidate.attestations))
        except AuditError as exc:
            return Opened(job, exc)
        name = f"{survey.repository.client.host}/{survey.name}"
        names = tuple(f"{name}:{tag}" for tag in candidate.tags if ":" not in tag)
        return Opened(job, replace(image, names=names or (f"{name}@{candidate.leaf.digest}",)))

    def request_layers(self, images: Sequence[Opened]) -> None:
        """Request the layers of images that the store lacks."""
        self._layers.request((one.job.survey.name, one.image.layers) for one in images if isinstance(one.image, Image))

    @property
    def requested(self) -> int:
        """Number of layers that were requested and not waited for."""
        return self._layers.requested

    def is_read(self, opened: Opened) -> bool:
        """Whether `finish` need not wait for layers."""
        return isinstance(opened.image, AuditError) or self._layers.are_read(opened.image.layers)

    def finish(self, images: Sequence[Opened]) -> list[Job]:
        """Wait for the layers of images, audit and store them; return the jobs of those that were audited.

        The survey of another one has the reason, unless the image was deleted meanwhile. They are stored in one
        transaction, unless they have many findings.
        """
        jobs, waiting = list[Job](), list[ImageRows]()
        for number, opened in enumerate(images):
            if number % _LOADED_TOGETHER == 0:
                some = (one.image for one in images[number : number + _LOADED_TOGETHER])
                self._layers.wait([layer for image in some if isinstance(image, Image) for layer in image.layers])
            rows = self._audited(opened)
            if rows is not None:
                jobs.append(opened.job)
                waiting.append(rows)
            if sum(len(one.findings) for one in waiting) > _FINDINGS_TOGETHER:
                self._save(waiting)
                waiting = []
        self._save(waiting)
        return jobs

    def _save(self, images: Sequence[ImageRows]) -> None:
        """Store images, and the records of layers that were waited for."""

        def work(connection: Connection) -> None:
            self._layers.keep()
            save_images(connection, self._sweep, images)

        self._store.write(work)
        self._layers.kept()

    def _audited(self, opened: Opened) -> ImageRows | None:
        """Audit an image, whose layers were waited for. Return what to store; None if it failed."""
        job = opened.job
        try:
            if isinstance(opened.image, AuditError):
                raise opened.image
            self._layers.check(opened.image.layers)
            return self._audit(job, opened.image)
        except (StoreError, EngineError):
            raise
        except AuditError as exc:
            if not (isinstance(exc, NotFound) and self._vanished(job.survey, job.candidate)):
                job.survey.failures.append((_reference(job.survey, job.candidate), str(exc)))
                self._failed.setdefault(job.survey.repository_id, set()).add(job.candidate.leaf.digest)
            return None

    def settle(self, survey: Survey) -> bool:
        """Attest the images of a repository; return whether no image has to be audited or attested again."""
        self._attest(survey)
        is_settled = survey.repository_id not in self._unsettled
        self._unsettled.discard(survey.repository_id)
        return is_settled

    def _audit(self, job: Job, image: Image) -> ImageRows:
        """Audit an image, whose layers are read."""
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
        return ImageRows.of(audit, job.candidate.leaf, job.survey.repository_id, key, self._sweep)

    def _attest(self, survey: Survey) -> None:
        """Attest the images of a repository that were audited.

        The next sweep audits again those that fail, and those of an index with an image that failed: the statement on
        the index needs the results of all.
        """
        keys = self._unattested.pop(survey.repository_id, {})
        failed = self._failed.pop(survey.repository_id, set())
        if self._plan.attestor is None or not keys:
            return
        # With a filter by platform, the audited images need not be all of an index.
        indexes = index_images(survey) if self._plan.platform is None else {}
        incomplete = [leaves for leaves in indexes.values() if not failed.isdisjoint(leaves)]
        missed = self._plan.attestor.finish(survey.repository, indexes).union(*incomplete)
        if missed:
            self._unsettled.add(survey.repository_id)
        save_audit_keys(
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


def _reference(survey: Survey, candidate: Candidate) -> str:
    tag = next((tag for tag in candidate.tags if ":" not in tag), None)
    return f"{survey.name}@{candidate.leaf.digest}" if tag is None else f"{survey.name}:{tag}"
