"""Images in a registry. Opening one fetches its manifests; each layer is downloaded when it is read."""

from __future__ import annotations

from dataclasses import replace

from auditor.images import manifest
from auditor.images.manifest import Origin
from auditor.images.source import Image
from auditor.registry.client import Client
from auditor.registry.reference import Reference, parse_reference
from auditor.registry.repository import Repository


def open_reference(text: str, origin: Origin, *, insecure: bool) -> tuple[Image, ...]:
    """Parse a reference and read its images. Raises UsageError, and the errors of `read_images`."""
    return read_images(parse_reference(text), origin, insecure=insecure)


def read_images(reference: Reference, origin: Origin, *, insecure: bool = False) -> tuple[Image, ...]:
    """Return the images of a reference, one for each platform. Raises NotFound, Unauthorized, Unreachable, Damaged."""
    repository = Repository(
        Client(reference.host, path=reference.repository, insecure=insecure, limits=origin.limits), reference.repository
    )
    images = manifest.images(repository, [repository.resolve(reference)], origin)
    return tuple(image if image.names else replace(image, names=(str(reference),)) for image in images)
