"""Requests for the manifests and configs of images. A sweep of unchanged tags imports nothing of this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from auditor.codec.descriptors import Descriptor
from auditor.codec.json_documents import DocumentBudget
from auditor.core.digests import Digest
from auditor.core.errors import Damaged, ImageError, NotFound
from auditor.core.image_config import Platform
from auditor.fleet.discovery.artifacts import attached_to
from auditor.fleet.discovery.candidates import is_digest_tag
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import Leaf, created_time, stored_created_times, stored_leaves
from auditor.images import index, manifest
from auditor.images.manifest import Origin, attestation_statements
from auditor.images.source import Image
from auditor.registry.repository import Repository


def read_leaves(
    repository: Repository, version: str, root: Descriptor, store: SweepStore
) -> tuple[tuple[Leaf, ...], str | None]:
    """Return the images and attestations below the manifest of a tag or digest, and the creation time of an image.

    The time is that of the first image. The manifest and config of an image in the store are not requested. Raises
    Damaged if there are attestations alone, below a tag that is none for them.
    """
    limits = repository.client.limits
    documents = DocumentBudget(f"{repository.name}:{version}", limits)
    leaves = [
        Leaf(own, attached_to(repository, version, own) if subject is None else subject)
        for own, _ in index.walk_indexes(repository, [root], limits)
        for subject in [_subject(repository, own, documents)]
    ]
    first = next((leaf.descriptor for leaf in leaves if leaf.subject is None), None)
    if first is None:
        if leaves and not is_digest_tag(version):
            raise Damaged(f"index {root.digest}: has attestations, and no image")
        return tuple(leaves), None
    try:
        known = None if first.digest == root.digest else _stored(store, first)
        created, platform = known or _requested(repository, first)
    except NotFound:
        if first.digest == root.digest:
            raise
        return tuple(leaves), None  # an index with a missing image: the audit reports it
    if first.platform is None and platform is not None:
        named = replace(first, annotations={}, platform=platform)
        leaves = [Leaf(named) if leaf.descriptor is first else leaf for leaf in leaves]
    return tuple(leaves), created


def read_image(repository: Repository, leaf: Descriptor, attestations: Sequence[Descriptor]) -> Image:
    """Read the manifest and config of an image, and its attestations."""
    target = f"docker://{repository.client.host}/{repository.name}@{leaf.digest}"
    return manifest.images(repository, [leaf, *attestations], Origin(target, "docker", None, repository.client.limits))[
        0
    ]


def _stored(store: SweepStore, image: Descriptor) -> tuple[str | None, Platform | None] | None:
    """Return creation time and platform of an image from the store, None if the store lacks it."""
    leaves = stored_leaves(store, [image.digest]).get(image.digest)
    if not leaves:
        return None
    return stored_created_times(store, [image.digest]).get(image.digest), leaves[0].descriptor.platform


def _requested(repository: Repository, image: Descriptor) -> tuple[str | None, Platform | None]:
    read = read_image(repository, image, ())
    return created_time(read), read.config.platform


def _subject(repository: Repository, descriptor: Descriptor, documents: DocumentBudget) -> str | None:
    """Return the digest that an attestation describes, "" without one; None for an image, whatever its index says.

    The audit needs the documents of an attestation too, and does not request them again.
    """
    if not descriptor.is_attestation:
        return None
    try:
        statements = attestation_statements(repository, descriptor, documents, repository.client.limits)
    except NotFound:
        statements = []  # the audit reports it
    if statements is None:
        return None
    try:
        return Digest(descriptor.annotations.get("vnd.docker.reference.digest", ""))
    except ImageError:
        return ""
