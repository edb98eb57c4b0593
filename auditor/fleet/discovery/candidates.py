"""Images of a repository: the leaves of the manifests that its tags name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.codec.descriptors import Descriptor, platform_matches
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.fleet.store.manifests import Leaf
from auditor.registry.reference import SIGNATURE_TAG


@dataclass(frozen=True, slots=True)
class Candidate:
    """Image that a sweep may audit: its manifest, the attestations in its indexes, and the tags that lead to it."""

    leaf: Descriptor
    attestations: tuple[Descriptor, ...]
    tags: tuple[str, ...]


def group_by_image(parts: Mapping[str, Sequence[Leaf]], platform: str | None) -> list[Candidate]:
    """Return the images of all tags with their tags and attestations, in a fixed order.

    Attestations of an image that no leaf of their tag is belong to its first image.
    """
    images: dict[Digest, Descriptor] = {}
    tags: dict[Digest, set[str]] = {}
    attested: dict[Digest, dict[Digest, Descriptor]] = {}
    for version, leaves in parts.items():
        digests = {leaf.descriptor.digest for leaf in leaves if leaf.subject is None}
        others = [leaf.descriptor for leaf in leaves if leaf.subject is not None and leaf.subject not in digests]
        for leaf in leaves:
            own = leaf.descriptor
            if leaf.subject is None and (own.platform is None or platform_matches(platform, own.platform)):
                images.setdefault(own.digest, own)
                tags.setdefault(own.digest, set()).add(version)
                attestations = [other.descriptor for other in leaves if other.subject == own.digest] + others
                others = []
                attested.setdefault(own.digest, {}).update({item.digest: item for item in attestations})
    return [
        Candidate(
            images[digest],
            tuple(attested[digest][key] for key in sorted(attested[digest])),
            tuple(sorted(tags[digest])),
        )
        for digest in sorted(images, key=lambda digest: (str(images[digest].platform or ""), digest))
    ]


def is_digest_tag(version: str) -> bool:
    """Whether a tag is one under which tools attach something to a digest: `sha256-….att`, `.sig`, `.sbom`."""
    return SIGNATURE_TAG.fullmatch(version) is not None
