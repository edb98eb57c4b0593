"""Manifests in the store: images and attestations of each index, and of each image manifest.

Annotations are not stored, because they may contain secrets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, select

from auditor.codec.descriptors import Descriptor
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.image_config import Platform
from auditor.core.text import printable
from auditor.detect.message_masking import masked_line
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert_all

if TYPE_CHECKING:
    from auditor.images.source import Image

_BATCH = 500  # values in one IN (...)


_LEAVES = (
    select(t.leaf)
    .where(t.leaf.c.manifest.in_(bindparam("manifests", expanding=True)))
    .order_by(t.leaf.c.manifest, t.leaf.c.position)
)
_CREATED = select(t.manifest.c.digest, t.manifest.c.created).where(
    t.manifest.c.digest.in_(bindparam("manifests", expanding=True))
)
_WITH_LEAVES = select(t.leaf.c.manifest).where(t.leaf.c.manifest.in_(bindparam("manifests", expanding=True))).distinct()


@dataclass(frozen=True, slots=True)
class Leaf:
    """Image or attestation manifest, listed in an index or named by a tag."""

    descriptor: Descriptor
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest with its leaves, and the creation time of its first image."""

    digest: Digest
    leaves: tuple[Leaf, ...]
    created: str | None


def batches(keys: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Split a list into batches for one IN (...) each."""
    return (keys[at : at + _BATCH] for at in range(0, len(keys), _BATCH))


def stored_leaves(store: SweepStore, manifests: Collection[str]) -> dict[Digest, tuple[Leaf, ...]]:
    """Return the leaves of those manifests that are in the store."""
    found: dict[Digest, tuple[Leaf, ...]] = {}
    for batch in batches(sorted(set(manifests))):
        found |= leaves_by_manifest(store.read(lambda c, own=batch: c.execute(_LEAVES, {"manifests": own}).all()))  # type: ignore[misc]
    return found


def leaves_by_manifest(rows: Iterable[Any]) -> dict[Digest, tuple[Leaf, ...]]:
    """Group rows of leaves, in the order of their positions, by manifest."""
    found: dict[Digest, list[Leaf]] = {}
    for row in rows:
        found.setdefault(Digest(row.manifest), []).append(_leaf(row))
    return {key: tuple(value) for key, value in found.items()}


def stored_created_times(store: SweepStore, manifests: Collection[str]) -> dict[str, str | None]:
    """Return the creation times of those images that are in the store."""
    found: dict[str, str | None] = {}
    for batch in batches(sorted(set(manifests))):
        query = select(t.manifest.c.digest, t.manifest.c.created).where(t.manifest.c.digest.in_(batch))
        found.update((row.digest, row.created) for row in store.read(lambda c, w=query: c.execute(w).all()))  # type: ignore[misc]
    return {key: value for key, value in found.items() if value is not None}


def created_time(image: Image) -> str | None:
    """Return the creation time in the config of an image."""
    created = image.config.raw.get("created")
    return created if isinstance(created, str) else None


def parse_platform(text: str | None) -> Platform | None:
    """Parse os/architecture[/variant]."""
    os, _, rest = (text or "").partition("/")
    architecture, _, variant = rest.partition("/")
    return Platform(os, architecture, variant) if text else None


def save_manifests(store: SweepStore, manifests: Sequence[Manifest]) -> None:
    """Store manifests with their leaves, without annotations."""
    if manifests:
        store.write(lambda c: upsert_manifests(c, manifests))


def upsert_manifests(connection: Connection, manifests: Iterable[Manifest]) -> None:
    """Store manifests as `save_manifests` does, within a transaction."""
    wanted = {manifest.digest: manifest for manifest in manifests}
    for batch in batches(sorted(wanted)):
        known = {row.digest: row.created for row in connection.execute(_CREATED, {"manifests": batch})}
        with_leaves = set(connection.execute(_WITH_LEAVES, {"manifests": batch}).scalars())
        times = {digest: printable(time)[:40] for digest in batch if (time := wanted[digest].created) is not None}
        new = [{"digest": digest} for digest in batch if digest not in known and digest not in times]
        # An update of the same would leave a dead row.
        dated = [{"digest": digest, "created": time} for digest, time in times.items() if known.get(digest) != time]
        leaves = [
            _leaf_row(digest, position, leaf)
            for digest in batch
            if digest not in with_leaves
            for position, leaf in enumerate(wanted[digest].leaves)
        ]
        upsert_all(connection, t.manifest, ("digest",), new)
        upsert_all(connection, t.manifest, ("digest",), dated)
        if leaves:
            connection.execute(insert(t.leaf), leaves)


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
