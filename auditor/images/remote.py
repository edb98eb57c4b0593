"""Images in a registry; layers are fetched when they are opened."""

from __future__ import annotations

from dataclasses import replace

from auditor.images import manifest
from auditor.images.manifest import Origin
from auditor.images.source import Image
from auditor.registry.client import Client
from auditor.registry.reference import Reference
from auditor.registry.repository import Repository


def read_images(reference: Reference, origin: Origin, *, insecure: bool = False) -> tuple[Image, ...]:
    """Read an image's manifests from its registry; layers are fetched when they are opened.

    Raises NotFound, Unauthorized, Unreachable, Damaged.
    """
    repository = Repository(Client(reference.host, insecure=insecure, limits=origin.limits), reference.repository)
    images = manifest.images(repository, [repository.resolve(reference)], origin)
    return tuple(image if image.names else replace(image, names=(str(reference),)) for image in images)
