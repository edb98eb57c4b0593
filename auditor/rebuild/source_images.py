"""The image that is to be flattened: audited, and with layers that can be read again from this machine's disk."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import AuditError, ImageError, UsageError
from auditor.core.finding import Confidence
from auditor.core.limits import Limits
from auditor.findings.selection import Selection
from auditor.images import daemon
from auditor.images.manifest import Origin
from auditor.images.resolve import open_target
from auditor.images.source import Image, Layer
from auditor.images.transports import TRANSPORTS
from auditor.pipeline import Audit, Request, audit_image
from auditor.registry.reference import Reference, parse_reference
from auditor.scan import Scanner
from auditor.store.records import Records

ALL_FINDINGS = Selection(min_confidence=Confidence.LOW)
SIGNATURE_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?")
"""Tags of what refers to a digest: cosign's `.sig`, `.att` and `.sbom`; without an ending the referrers of OCI."""
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
    """Audit every image of a target, findings of low confidence too; and name the artifacts that lie beside them.

    Those are signatures, attestations and the like, which refer to digests that are no more.

    `host` is the registry that the result goes to: layers of an engine's image that lie there already are taken from
    there, in the compressed form that need not be sent again. Raises UsageError for what is no image of stacked
    layers, and all that reading raises.
    """
    held: dict[Digest, Layer] = {}
    opened = open_target(target, scanner.limits, platform=platform, insecure=insecure)
    kept = [image for image in opened if not _refers(image)]
    left_out = tuple(_artifact(image) for image in opened if _refers(image)) if kept else ()
    opened = tuple(kept) or opened
    if host is not None:
        opened = tuple(_as_pushed(image, host, scanner.limits, insecure) for image in opened)
    images = [_on_disk(image, held) for image in opened]
    request = Request(platform, selection=ALL_FINDINGS)
    audits = [audit_image(image, scanner, request, records) for image in images]
    for audit in audits:
        for number, record in enumerate(audit.records):
            if not record.is_tar:
                raise ImageError(f"{target}: layer {number} is no tar; it can't be rewritten")
    return audits, left_out


def _refers(image: Image) -> bool:
    """Whether an image is an artifact, or what cosign keeps beside images: its configs are an image's, its tags not."""
    return not image.stacked or any(SIGNATURE_TAG.fullmatch(name.rpartition(":")[2]) for name in image.names)


def _artifact(image: Image) -> str:
    kind = image.manifest.get("artifactType")
    name = next(iter(image.names), None) or image.digest
    return f"{name}{f' ({kind})' if isinstance(kind, str) else ''}, an artifact beside the image, of the old digests"


def pushed_to(image: Image, host: str) -> Iterator[Reference]:
    """Yield where in a registry an engine's image, or a registry's own, lies under its digest."""
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
    """Replace the layers of an engine's image by the same ones of the registry it was pushed to or pulled from."""
    from auditor.images import remote

    if not TRANSPORTS[image.transport].in_engine:
        return image
    have: dict[DiffID | None, Layer] = {}
    for reference in pushed_to(image, host):
        with contextlib.suppress(AuditError):  # it is gone there: then the layers are sent
            for found in remote.read_images(reference, Origin(image.target, "docker", None, limits), insecure=insecure):
                have |= {layer.diff_id: layer for layer in found.layers}
    return replace(image, layers=tuple(have.get(layer.diff_id, layer) for layer in image.layers))


def _on_disk(image: Image, held: dict[Digest, Layer]) -> Image:
    if not image.stacked:
        raise UsageError(
            f"{image.target}: an artifact, whose blobs don't lie on one another; only images are flattened"
        )
    if image.skipped:  # a platform that the archive or the registry lacks
        raise ImageError(f"{image.target}: {image.skipped[0].reason}; choose what is there with --platform")
    return replace(image, layers=tuple(_layer_on_disk(layer, held) for layer in image.layers))


def _layer_on_disk(layer: Layer, held: dict[Digest, Layer]) -> Layer:
    """Keep what comes over a network in an unlinked file; layers that platforms share are fetched once."""
    if isinstance(layer.content, FileSlice):
        return layer
    if layer.digest is None or layer.digest not in held:
        with tempfile.TemporaryFile() as spool, layer.content.open() as stream:
            while chunk := stream.read(_CHUNK):
                spool.write(chunk)
            spool.flush()
            file = SharedFile(os.dup(spool.fileno()))
        local = replace(layer, content=FileSlice(file, 0, file.size))
        if layer.digest is None:
            return local
        held[layer.digest] = local
    return replace(layer, content=held[layer.digest].content)
