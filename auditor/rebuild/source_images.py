"""Images to flatten: audited, with layers on the local disk that can be read again."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import AuditError, ImageError, UsageError
from auditor.core.finding import Confidence
from auditor.core.limits import Limits
from auditor.findings.selection import Selection
from auditor.images import daemon, remote
from auditor.images.manifest import Origin
from auditor.images.resolve import open_target
from auditor.images.source import Image, Layer
from auditor.images.transports import TRANSPORTS
from auditor.pipeline import Audit, Request, audit_image
from auditor.registry.reference import SIGNATURE_TAG, Reference, parse_reference
from auditor.scan import Scanner
from auditor.store.records import Records

ALL_FINDINGS = Selection(min_confidence=Confidence.LOW)
_CHUNK = 1 << 20


def audit_source_images(
    target: str,
    scanner: Scanner,
    records: Records,
    platform: str | None,
    *,
    insecure: bool,
    host: str | None = None,
) -> tuple[list[Audit], tuple[str, ...]]:
    """Audit every image of a target at low confidence. Return the audits, and descriptions of artifacts left out.

    Artifacts are signatures, attestations and the like, which refer to the old digests. `host` is the registry that
    receives the result: layers of an engine's image that it has already are read from there, in their compressed form,
    and need no upload. Raises UsageError for a target that is no image of stacked layers, and all errors of reading.
    """
    fetched: dict[Digest, Layer] = {}
    opened = open_target(target, scanner.limits, platform=platform, insecure=insecure)
    kept = [image for image in opened if not _refers(image)]
    left_out = tuple(_artifact(image) for image in opened if _refers(image)) if kept else ()
    opened = tuple(kept) or opened
    if host is not None:
        opened = tuple(_as_pushed(image, host, scanner.limits, insecure) for image in opened)
    images = [_on_disk(image, fetched) for image in opened]
    request = Request(platform, selection=ALL_FINDINGS)
    audits = [audit_image(image, scanner, request, records) for image in images]
    for audit in audits:
        for number, record in enumerate(audit.records):
            if not record.is_tar:
                raise ImageError(f"{target}: layer {number} is not a tar, so it cannot be rewritten")
    return audits, left_out


def _refers(image: Image) -> bool:
    """Whether an image is an artifact. cosign's have the config of an image, and are known by their tags."""
    return not image.stacked or any(SIGNATURE_TAG.fullmatch(name.rpartition(":")[2]) for name in image.names)


def _artifact(image: Image) -> str:
    kind = image.manifest.get("artifactType")
    name = next(iter(image.names), None) or image.digest
    return f"{name}{f' ({kind})' if isinstance(kind, str) else ''}, an artifact of the old digests"


def pushed_to(image: Image, host: str) -> Iterator[Reference]:
    """Yield the references by digest under which a registry has an image."""
    transport = TRANSPORTS[image.transport]
    value = transport.bare(image.target)
    if transport.in_engine:
        digests: tuple[str, ...] = daemon.inspect(value).digests
    elif transport.in_registry:
        digests = (value,)
    else:
        return
    yield from (found for found in map(parse_reference, digests) if found.host == host)


def _as_pushed(image: Image, host: str, limits: Limits, insecure: bool) -> Image:
    """Replace the layers of an engine's image by equal ones of the registry it was pushed to or pulled from."""
    if not TRANSPORTS[image.transport].in_engine:
        return image
    have: dict[DiffID | None, Layer] = {}
    for reference in pushed_to(image, host):
        with contextlib.suppress(AuditError):  # not there any more: the layers are uploaded
            for found in remote.read_images(reference, Origin(image.target, "docker", None, limits), insecure=insecure):
                have |= {layer.diff_id: layer for layer in found.layers}
    return replace(image, layers=tuple(have.get(layer.diff_id, layer) for layer in image.layers))


def _on_disk(image: Image, fetched: dict[Digest, Layer]) -> Image:
    if not image.stacked:
        raise UsageError(f"{image.target}: an artifact, not an image of stacked layers. Only images can be flattened")
    if image.skipped:  # a platform that the archive or registry lacks
        raise ImageError(f"{image.target}: {image.skipped[0].reason}; choose an existing one with --platform")
    return replace(image, layers=tuple(_layer_on_disk(layer, fetched) for layer in image.layers))


def _layer_on_disk(layer: Layer, fetched: dict[Digest, Layer]) -> Layer:
    """Copy a remote layer to an unlinked file. Layers that platforms share are fetched once."""
    if isinstance(layer.content, FileSlice):
        return layer
    if layer.digest is None or layer.digest not in fetched:
        with tempfile.TemporaryFile() as spool, layer.content.open() as stream:
            while chunk := stream.read(_CHUNK):
                spool.write(chunk)
            spool.flush()
            file = SharedFile(os.dup(spool.fileno()))
        local = replace(layer, content=FileSlice(file, 0, file.size))
        if layer.digest is None:
            return local
        fetched[layer.digest] = local
    return replace(layer, content=fetched[layer.digest].content)
