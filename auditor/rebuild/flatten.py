"""Flatten: audit the input, plan, write an archive, prove it.

    audit_source_images ─► plan_layers ─► write_layer ─► manifests ─► prove ─► FlattenedImage
                             (pure)        (streams)

Read this file first. `destinations` loads or pushes the archive after the proof.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path

from auditor.codec.file_slices import FileSlice
from auditor.codec.hashing import sha256
from auditor.core.dataclass import dataclass
from auditor.core.entries import FileVersion
from auditor.core.errors import UsageError
from auditor.core.process import trim_heap
from auditor.images.source import short_names
from auditor.images.transports import TRANSPORTS
from auditor.layers.layer_index import index_layer
from auditor.layers.tree import gc_paused
from auditor.pipeline import Audit
from auditor.rebuild.archive_writer import ArchiveWriter, CompressionOptions, LayerBlob
from auditor.rebuild.derived_records import copy_sources, derived_record, skipped_by_entry
from auditor.rebuild.engine_export import exported
from auditor.rebuild.excise import excise
from auditor.rebuild.extraction import implied_folder_modes
from auditor.rebuild.image_config import DroppedSettings, HistoryMasker, rewritten_config
from auditor.rebuild.layer_writer import write_layer
from auditor.rebuild.manifest_metadata import rewritten_metadata
from auditor.rebuild.manifests import RewrittenImage, is_multi_platform, write_documents
from auditor.rebuild.merge import merge
from auditor.rebuild.operations import NO_VERSION, ExciseLayer, KeepLayer, LayerPlan, MergeLayers
from auditor.rebuild.prove import Proof, WrittenImage, prove
from auditor.rebuild.readable_layers import ReadableLayers
from auditor.rebuild.source_images import audit_source_images
from auditor.scan import LayerRecord, Scanner
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records

FULL, EXCISE, MINIMAL, FROM = "full", "excise", "minimal", "from"


@dataclass(frozen=True, slots=True)
class FlattenJob:
    """One flatten run. `method` is one of the constants above; FROM needs `lowest`.

    `names` None keeps the names of the input. `export` lets the engine unpack the image, for FULL only. `host` is the
    registry that will receive the result. `docker` writes a docker-archive, else an oci-archive.
    """

    target: str
    method: str = FULL
    lowest: int = 0
    drops: DroppedSettings = field(default_factory=DroppedSettings)
    docker: bool = True
    compression: CompressionOptions = field(default_factory=CompressionOptions)
    names: tuple[str, ...] | None = None
    platform: str | None = None
    insecure: bool = False
    export: bool = False
    host: str | None = None


@dataclass(frozen=True, slots=True)
class FlattenedImage:
    """One image before and after, with the plan of its layers and the proof."""

    before: Audit
    plans: tuple[LayerPlan, ...]
    rewritten: RewrittenImage
    after: Audit
    proof: Proof


def flatten(job: FlattenJob, scanner: Scanner, path: Path, store: LayerStore | None = None) -> list[FlattenedImage]:
    """Write a flattened archive at `path` and prove it. Layers in `store` are not scanned again.

    Raises FlattenError where the proof fails, and all errors of reading. The caller removes the file on errors.
    """
    records = Records(scanner, store, keep_secrets=True)  # unmasked secrets, to mask them in the history
    audits, left_out = audit_source_images(
        job.target, scanner, records, job.platform, insecure=job.insecure, host=job.host
    )
    trim_heap()
    with gc_paused():
        readable = [_readable(audit) for audit in audits]
        plans = [plan_layers(job, audit, part) for audit, part in zip(audits, readable, strict=True)]
        trim_heap()
    if job.export:
        plans = [(exported(audit, part),) for audit, part in zip(audits, readable, strict=True)]
    archive = ArchiveWriter(path)
    try:
        written = [
            _write_image(job, archive, (scanner, records), planned)
            for planned in zip(audits, plans, readable, strict=True)
        ]
        images = [image.rewritten for image in written]
        if job.docker and is_multi_platform(images):
            have = ", ".join(str(rewritten.platform) for rewritten in images)
            raise UsageError(
                f"{job.target}: a docker-archive holds one platform, the image has {have}. "
                "Use --format oci-archive, or choose one with --platform"
            )
        write_documents(archive, images, docker=job.docker)
        verified = archive.verified_digests()
    finally:
        archive.close()
    scanner.progress.say("proving")
    proofs = prove(path, scanner, records, written, job.drops, verified, left_out)
    return [
        FlattenedImage(image.before, tuple(image.plans), image.rewritten, after, proof)
        for image, (after, proof) in zip(written, proofs, strict=True)
    ]


def plan_layers(job: FlattenJob, audit: Audit, readable: ReadableLayers) -> tuple[LayerPlan, ...]:
    """Plan each layer. Raises UsageError where --from names no layer, or one above a leaking layer."""
    listings = [record.listing for record in audit.records]
    count, leaking = len(listings), leaking_versions(audit) | _unread_versions(audit)
    lowest = min((version.layer for version in leaking), default=count)
    modes = implied_folder_modes(readable.extracted)
    match job.method:
        case "excise":
            return excise(listings, audit.file_history, leaking)
        case "from" if not 0 <= job.lowest < count:
            have = f"the layers 0 to {count - 1}" if count else "no layers"
            raise UsageError(f"--from {job.lowest}: {job.target} has {have}")
        case "from" if lowest < job.lowest:
            raise UsageError(
                f"--from {job.lowest}: layer {lowest} of {job.target} has hidden secrets, or hidden files that could "
                f"not be read. Use --minimal, which begins there"
            )
        case "from":
            return merge(listings, job.lowest, modes)
        case "minimal":
            return merge(listings, lowest, modes) if leaking else tuple(KeepLayer(number) for number in range(count))
        case _:
            return merge(listings, 0, modes) if count else ()


def leaking_versions(audit: Audit) -> set[FileVersion]:
    """Return the file versions with deleted or overwritten secrets."""
    return {version for finding in audit.findings if finding.is_hidden for version in finding.held_by}


def _unread_versions(audit: Audit) -> set[FileVersion]:
    """Return the hidden file versions that the scan could not read in full: they may hold secrets."""
    return {
        FileVersion(layer, entry)
        for layer, record in enumerate(audit.records)
        for entry in skipped_by_entry(record)
        if entry != NO_VERSION and audit.file_history.hidden_in(layer, entry) is not None
    }


def _readable(audit: Audit) -> ReadableLayers:
    readable = ReadableLayers(
        audit.image.target, list(audit.image.layers), [record.listing for record in audit.records], {}, audit.limits
    )
    readable.read_headers(whole=True)
    return readable


def _write_image(
    job: FlattenJob,
    archive: ArchiveWriter,
    readers: tuple[Scanner, Records],
    planned: tuple[Audit, Sequence[LayerPlan], ReadableLayers],
) -> WrittenImage:
    """Write the layers of an image and build its config."""
    audit, plans, readable = planned
    scanner, records = readers
    blobs: list[LayerBlob] = []
    copied_from: dict[int, array[int]] = {}
    for plan in plans:
        if isinstance(plan, KeepLayer):
            blob, record = _copy_layer(archive, audit, plan.number)
        else:
            scanner.progress.say(f"{audit.image.target}: writing layer {len(blobs)}")
            what = f"{audit.image.target}: the output's layer {len(blobs)}"
            sources = copy_sources(plan, readable.listings, len(audit.records))
            record = _write_layer(job, archive, records, (audit, plan, readable), sources, what)
            if sources is not None:
                copied_from[len(blobs)] = sources
            kind = None if job.compression.name == "none" else job.compression.name
            blob = LayerBlob(record.digest, record.size, record.diff_id, kind)
        blobs.append(blob)
        records.remember(record)
    return WrittenImage(audit, plans, readable, _rewritten_image(job, scanner, audit, plans, blobs), copied_from)


def _write_layer(
    job: FlattenJob,
    archive: ArchiveWriter,
    records: Records,
    planned: tuple[Audit, MergeLayers | ExciseLayer, ReadableLayers],
    copied_from: array[int] | None,
    what: str,
) -> LayerRecord:
    """Write a layer and read it back. It is scanned only where its record cannot be derived from the input's."""
    audit, plan, readable = planned
    write: Callable[..., None] = partial(write_layer, readable, plan)
    if copied_from is None:
        return archive.layer(write, job.compression, partial(records.scan, name=what))
    index = archive.layer(write, job.compression, partial(index_layer, label=what, limits=readable.limits))
    return derived_record(index, copied_from, audit.records, what)


def _rewritten_image(
    job: FlattenJob, scanner: Scanner, audit: Audit, plans: Sequence[LayerPlan], blobs: Sequence[LayerBlob]
) -> RewrittenImage:
    image, diff_ids = audit.image, [blob.diff_id for blob in blobs]
    config = rewritten_config(audit, plans, diff_ids, job.drops, HistoryMasker(scanner, audit))
    is_container = TRANSPORTS[image.transport].is_container
    own = () if is_container else tuple(name for name in short_names(image.names) if "@" not in name)
    names = own if job.names is None else job.names
    metadata = rewritten_metadata(audit, plans, sha256(config))
    return RewrittenImage(config, tuple(blobs), names, image.config.platform, metadata, job.names is not None)


def _copy_layer(archive: ArchiveWriter, audit: Audit, number: int) -> tuple[LayerBlob, LayerRecord]:
    record, content = audit.records[number], audit.image.layers[number].content
    assert isinstance(content, FileSlice)  # noqa: S101 - by `audit_source_images`
    kind = archive.copy(content, record.digest)
    return LayerBlob(record.digest, record.size, record.diff_id, kind), record
