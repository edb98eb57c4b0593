"""Subjects of a statement: the manifests of a target, and the index that lists them."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.attest.image_result import manifest_digest
from auditor.attest.statement import Subject
from auditor.core.digests import Digest
from auditor.findings.image_names import name_without_tag
from auditor.images.source import Image
from auditor.images.transports import TRANSPORTS
from auditor.registry.reference import Reference, parse_reference


def subjects_of(images: Sequence[Image], *, whole: bool) -> tuple[Subject, ...]:
    """Return indexes, then manifests. An index is a subject only if the `whole` target was audited.

    Raises AttestationError for an image without the digest of a manifest.
    """
    found = dict[tuple[Digest, str], None]()
    for image in images:
        for entry in image.index_entries if whole else ():
            if entry.index is not None:
                found[entry.index, subject_name(image)] = None
    for image in images:
        found[manifest_digest(image), subject_name(image)] = None
    return tuple(Subject(name, digest) for digest, name in found)


def pulled_digests(images: Sequence[Image], *, whole: bool) -> tuple[Digest, ...]:
    """Return the digests by which a client pulls a target: that of its index, or of its manifests without an index."""
    subjects = subjects_of(images, whole=whole)
    indexed = {image.digest for image in images if whole and any(entry.index for entry in image.index_entries)}
    return tuple(dict.fromkeys(subject.digest for subject in subjects if subject.digest not in indexed))


def registry_reference(image: Image) -> Reference | None:
    """Return the reference of an image that was read from a registry, None for other transports."""
    transport = TRANSPORTS[image.transport]
    return parse_reference(transport.bare(image.target)) if transport.in_registry else None


def subject_name(image: Image) -> str:
    """Return `HOST/REPOSITORY` of an image in a registry, else its name or that of its archive."""
    reference = registry_reference(image)
    return name_without_tag(image) if reference is None else f"{reference.host}/{reference.repository}"
