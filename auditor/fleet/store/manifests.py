"""What is known of manifests: an index to its images and attestations, an image to itself.

Annotations, which may hold secrets, are not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.core.image_config import Platform
from auditor.core.text import printable
from auditor.detect.message_masking import masked_line
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert
from auditor.images.source import Image

_CHUNK = 500  # values in one IN (...)


@dataclass(frozen=True, slots=True)
class Leaf:
    """An image or attestation that an index lists, or that a tag names itself."""

    descriptor: Descriptor
    subject: str | None = None


def batches(keys: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Cut a list to what one IN (...) takes."""
    return (keys[at : at + _CHUNK] for at in range(0, len(keys), _CHUNK))


def stored_tags(store: SweepStore, host: str, name: str) -> dict[str, Digest]:
    """Return the manifest that each tag of a repository named when it was last seen."""
    wanted = (
        select(t.tag.c.name, t.tag.c.manifest)
        .join(t.repository, t.repository.c.id == t.tag.c.repository)
        .where(t.repository.c.host == host, t.repository.c.name == name)
        .order_by(t.tag.c.last_seen)
    )
    return {row.name: Digest(row.manifest) for row in store.read(lambda c: c.execute(wanted).all())}


def stored_leaves(store: SweepStore, manifests: Collection[str]) -> dict[Digest, tuple[Leaf, ...]]:
    """Return what indexes and images consist of, of those that are known."""
    found: dict[Digest, list[Leaf]] = {}
    for chunk in batches(sorted(set(manifests))):
        wanted = select(t.leaf).where(t.leaf.c.manifest.in_(chunk)).order_by(t.leaf.c.manifest, t.leaf.c.position)
        for row in store.read(lambda c, w=wanted: c.execute(w).all()):  # type: ignore[misc]
            found.setdefault(Digest(row.manifest), []).append(_leaf(row))
    return {key: tuple(value) for key, value in found.items()}


def stored_created_times(store: SweepStore, manifests: Collection[str]) -> dict[str, str | None]:
    """Return when images were made, of those manifests that are known."""
    found: dict[str, str | None] = {}
    for chunk in batches(sorted(set(manifests))):
        wanted = select(t.manifest.c.digest, t.manifest.c.created).where(t.manifest.c.digest.in_(chunk))
        found.update((row.digest, row.created) for row in store.read(lambda c, w=wanted: c.execute(w).all()))  # type: ignore[misc]
    return {key: value for key, value in found.items() if value is not None}


def created_time(image: Image) -> str | None:
    """Return when an image was made, as its config says."""
    created = image.config.raw.get("created")
    return created if isinstance(created, str) else None


def parse_platform(text: str | None) -> Platform | None:
    """Return the platform that a column holds."""
    os, _, rest = (text or "").partition("/")
    architecture, _, variant = rest.partition("/")
    return Platform(os, architecture, variant) if text else None


def save_manifest(store: SweepStore, digest: str, leaves: Sequence[Leaf], created: str | None) -> None:
    """Keep what a manifest consists of, and when its first image was made. Annotations are not kept."""
    store.write(lambda c: upsert_manifest(c, digest, leaves, created))


def upsert_manifest(connection: Connection, digest: str, leaves: Sequence[Leaf], created: str | None) -> None:
    """As `save_manifest`, within a transaction."""
    upsert(connection, t.manifest, {"digest": digest}, {} if created is None else {"created": printable(created)[:40]})
    if connection.execute(select(t.leaf.c.position).where(t.leaf.c.manifest == digest)).first() is None:
        rows = [_leaf_row(digest, position, leaf) for position, leaf in enumerate(leaves)]
        if rows:
            connection.execute(insert(t.leaf), rows)


def _leaf(row: Any) -> Leaf:
    annotations = {} if row.subject is None else {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": row.subject,
    }  # fmt: skip
    descriptor = Descriptor(row.media_type, Digest(row.digest), row.size, annotations, parse_platform(row.platform))
    return Leaf(descriptor, row.subject)


def _leaf_row(manifest: str, position: int, leaf: Leaf) -> dict[str, Any]:
    own = leaf.descriptor
    return {
        "manifest": manifest,
        "position": position,
        "digest": own.digest,
        "media_type": printable(own.media_type)[:255],
        "size": own.size,
        "platform": None if own.platform is None else masked_line(printable(str(own.platform)))[:128],
        "subject": leaf.subject,
    }
