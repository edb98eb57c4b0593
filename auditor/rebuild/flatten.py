"""Flatten: audit the input, plan, write an archive, prove it.

    read_inputs ─► plan ─► write_layer ─► documents ─► audit of the output ─► prove ─► Flattened
                  (pure)   (streams)

Read this file first. Nothing is loaded, pushed or named here: that comes after the proof.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from auditor.codec.file_slices import FileSlice
from auditor.codec.hashing import sha256
from auditor.core.entries import FileVersion
from auditor.core.errors import UsageError
from auditor.core.process import trim_heap
from auditor.images.transports import TRANSPORTS
from auditor.layers.layer_index import index_layer
from auditor.layers.tree import gc_paused
from auditor.pipeline import Audit
from auditor.rebuild.archive_writer import ArchiveWriter, CompressionOptions, LayerBlob
from auditor.rebuild.derived_records import copy_sources, derived_record
from auditor.rebuild.engine_export import exported
from auditor.rebuild.excise import excise
from auditor.rebuild.extraction import implied_folder_modes
from auditor.rebuild.image_config import DroppedSettings, HistoryMasker, rewritten_config
from auditor.rebuild.layer_writer import write_layer
from auditor.rebuild.manifest_metadata import rewritten_metadata
from auditor.rebuild.manifests import RewrittenImage, is_multi_platform, write_documents
from auditor.rebuild.merge import merge
from auditor.rebuild.operations import ExciseLayer, KeepLayer, LayerPlan, MergeLayers
from auditor.rebuild.prove import Proof, WrittenImage, prove
from auditor.rebuild.readable_layers import ReadableLayers
from auditor.rebuild.source_images import audit_source_images
from auditor.scan import LayerRecord, Scanner
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records

FULL, EXCISE, MINIMAL, FROM = "full", "excise", "minimal", "from"


@dataclass(frozen=True, slots=True)
class FlattenJob:
    """What to make of a target. `lowest` belongs to the way `from`; `names` None keeps the input's.

    With `export` the engine unpacks the image, for a full flatten. `host` is the registry that the result is for.
    """

    target: str
    way: str = FULL
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
    """One image that was written and proven: what it was, what became of each layer, and what it is now."""

    before: Audit
    outputs: tuple[LayerPlan, ...]
    made: RewrittenImage
    after: Audit
    proof: Proof


def flatten(job: FlattenJob, scanner: Scanner, path: Path, store: LayerStore | None = None) -> list[FlattenedImage]:
    """Write a new archive at `path`, and prove it. Layers that `store` knows are not searched again.

    Raises FlattenError where the proof fails, and all that reading raises; the file is the caller's to remove then.
    """
    records = Records(scanner, store, whole=True)  # secrets whole, to mask them in the history
    audits, left_out = audit_source_images(
        job.target, scanner, records, job.platform, insecure=job.insecure, host=job.host
    )
    trim_heap()
    with gc_paused():
        readable = [_readable(audit) for audit in audits]
        plans = [plan(job, audit, part) for audit, part in zip(audits, readable, strict=True)]
        trim_heap()
    if job.export:
        plans = [(exported(audit, part),) for audit, part in zip(audits, readable, strict=True)]
    archive = ArchiveWriter(path)
    try:
        written = [
            _write(job, archive, (scanner, records), planned) for planned in zip(audits, plans, readable, strict=True)
        ]
        images = [image.made for image in written]
        if job.docker and is_multi_platform(images):
            have = ", ".join(str(made.platform) for made in images)
            raise UsageError(
                f"{job.target}: a docker-archive holds one platform; want --format oci-archive, or --platform: {have}"
            )
        write_documents(archive, images, docker=job.docker)
        hashed = archive.hashed()
    finally:
        archive.close()
    scanner.progress.say("proving")
    proofs = prove(path, scanner, records, written, job.drops, hashed, left_out)
    return [
        FlattenedImage(image.before, tuple(image.outputs), image.made, after, proof)
        for image, (after, proof) in zip(written, proofs, strict=True)
    ]


def plan(job: FlattenJob, audit: Audit, readable: ReadableLayers) -> tuple[LayerPlan, ...]:
    """Say what becomes of each layer. Raises UsageError where --from names no layer, or one too high."""
    listings = [record.listing for record in audit.records]
    count, gone = len(listings), leaking_versions(audit)
    lowest = min((version.layer for version in gone), default=count)
    unusual = implied_folder_modes(readable.extracted)
    match job.way:
        case "excise":
            return excise(listings, audit.trace, gone)
        case "from" if not 0 <= job.lowest < count:
            have = f"the layers 0 to {count - 1}" if count else "no layers"
            raise UsageError(f"--from {job.lowest}: {job.target} has {have}")
        case "from" if lowest < job.lowest:
            raise UsageError(f"--from {job.lowest}: layer {lowest} of {job.target} leaks too; --minimal begins there")
        case "from":
            return merge(listings, job.lowest, unusual)
        case "minimal":
            return merge(listings, lowest, unusual) if gone else tuple(KeepLayer(number) for number in range(count))
        case _:
            return merge(listings, 0, unusual) if count else ()


def leaking_versions(audit: Audit) -> set[FileVersion]:
    """Return the file versions that hold what is deleted or overwritten."""
    return {version for finding in audit.findings if finding.is_hidden for version in finding.held_by}


def _readable(audit: Audit) -> ReadableLayers:
    readable = ReadableLayers(
        audit.image.target, list(audit.image.layers), [record.listing for record in audit.records], {}, audit.limits
    )
    readable.read_headers(whole=True)
    return readable


def _write(
    job: FlattenJob,
    archive: ArchiveWriter,
    readers: tuple[Scanner, Records],
    planned: tuple[Audit, Sequence[LayerPlan], ReadableLayers],
) -> WrittenImage:
    """Write an image's layers, and make its config."""
    audit, outputs, readable = planned
    scanner, records = readers
    blobs: list[LayerBlob] = []
    copied_from: dict[int, array[int]] = {}
    for output in outputs:
        if isinstance(output, KeepLayer):
            blob, record = _kept(archive, audit, output.number)
        else:
            scanner.progress.say(f"{audit.image.target}: writing layer {len(blobs)}")
            what = f"{audit.image.target}: the output's layer {len(blobs)}"
            copies = copy_sources(output, readable.listings, len(audit.records))
            record = _rewritten(job, archive, records, (audit, output, readable), copies, what)
            if copies is not None:
                copied_from[len(blobs)] = copies
            kind = None if job.compression.name == "none" else job.compression.name
            blob = LayerBlob(record.digest, record.size, record.diff_id, kind)
        blobs.append(blob)
        records.hold(record)
    return WrittenImage(audit, outputs, readable, _made(job, scanner, audit, outputs, blobs), copied_from)


def _rewritten(
    job: FlattenJob,
    archive: ArchiveWriter,
    records: Records,
    planned: tuple[Audit, MergeLayers | ExciseLayer, ReadableLayers],
    copies: array[int] | None,
    what: str,
) -> LayerRecord:
    """Write a layer and read it back; it is searched only where not all of its files were searched in the input."""
    audit, output, readable = planned
    write: Callable[..., None] = partial(write_layer, readable, output)
    if copies is None:
        return archive.layer(write, job.compression, partial(records.scan, what=what))
    index = archive.layer(write, job.compression, partial(index_layer, what=what))
    return derived_record(index, copies, audit.records, what)


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return each name once: the engine's archives tell `app:1` as `docker.io/library/app:1` and as `1` too."""
    short = dict.fromkeys(name.removeprefix("docker.io/library/").removeprefix("docker.io/") for name in names)
    tags = {name.rpartition(":")[2] for name in short if ":" in name}
    return tuple(name for name in short if "@" not in name and name not in tags)


def _made(
    job: FlattenJob, scanner: Scanner, audit: Audit, outputs: Sequence[LayerPlan], blobs: Sequence[LayerBlob]
) -> RewrittenImage:
    image, diff_ids = audit.image, [blob.diff_id for blob in blobs]
    config = rewritten_config(audit, outputs, diff_ids, job.drops, HistoryMasker(scanner, audit))
    own = () if TRANSPORTS[image.transport].is_container else _distinct(image.names)
    names = own if job.names is None else job.names
    metadata = rewritten_metadata(audit, outputs, sha256(config))
    return RewrittenImage(config, tuple(blobs), names, image.config.platform, metadata, job.names is not None)


def _kept(archive: ArchiveWriter, audit: Audit, number: int) -> tuple[LayerBlob, LayerRecord]:
    record, content = audit.records[number], audit.image.layers[number].content
    assert isinstance(content, FileSlice)  # noqa: S101 - so `read_inputs` left it
    kind = archive.copy(content, record.digest)
    return LayerBlob(record.digest, record.size, record.diff_id, kind), record
