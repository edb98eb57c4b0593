"""Look-up of one secret: every image that holds it or held it, with its tags.

find_secrets(store, text)      secrets with an id that begins with a text, or with a finding of that id
images_with(store, secret)     images with the secret, those that can be pulled first
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select

from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches

LEAST_DIGITS = 8
"""Least number of digits of an abbreviated secret id."""

_MOST_IDS = 5
_SECRET_DIGITS, _FINDING_DIGITS = 32, 16


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a secret in an image, with rule and state."""

    rule: str
    name: str
    severity: str
    masked: str
    state: str
    path: str | None
    where: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class HoldingImage:
    """An image with a secret. `tags` name it now, `last_tags` named it last; times are RFC 3339.

    `pullable` is False once the registry reported the digest as deleted, and None if it did not answer.
    """

    host: str
    repository: str
    digest: str
    platform: str | None
    tags: tuple[str, ...]
    last_tags: tuple[str, ...]
    pullable: bool | None
    first_seen: str
    last_seen: str
    places: tuple[Place, ...]


def find_secrets(store: SweepStore, text: str) -> list[str]:
    """Return the ids of secrets for an id from a report: of a secret, at least its first 8 digits, or of a finding.

    At most five are returned, for messages about an ambiguous id.
    """
    digits = text.lower()
    if not LEAST_DIGITS <= len(digits) <= _SECRET_DIGITS or set(digits) - set("0123456789abcdef-"):
        return []
    secret, found = t.finding.c.secret, list[Any]()
    if "-" not in digits:
        low, high = (bytes.fromhex(digits.ljust(_SECRET_DIGITS, fill)) for fill in "0f")
        query = select(secret).where(secret.between(low, high)).distinct().order_by(secret).limit(_MOST_IDS)
        found = list(store.read(lambda c: c.execute(query).scalars().all()))
    if not found and len(digits) >= _FINDING_DIGITS:
        by_finding = select(secret).where(t.finding.c.finding == digits).distinct().order_by(secret).limit(_MOST_IDS)
        found = list(store.read(lambda c: c.execute(by_finding).scalars().all()))
    return [bytes(one).hex() for one in found]


def images_with(store: SweepStore, secret: str) -> list[HoldingImage]:
    """Return the images with a secret, those that can be pulled first, then by name."""

    def work(connection: Connection) -> list[HoldingImage]:
        rows = connection.execute(_findings(bytes.fromhex(secret))).all()
        by_image: dict[int, list[Any]] = {}
        for row in rows:
            by_image.setdefault(row.image, []).append(row)
        tags = _tags(connection, list(by_image))
        withdrawn = _withdrawn(connection, list(by_image))
        return [_image(own, tags.get(key, ()), withdrawn.get(key)) for key, own in by_image.items()]

    found = store.read(work)
    return sorted(found, key=lambda one: (one.pullable is False, one.host, one.repository, one.tags, one.digest))


def _findings(secret: bytes) -> Any:
    own, last, image = t.finding.c, t.sweep.alias(), t.image.c
    return (
        select(
            own.image, own.rule, own.name, own.severity, own.masked, own.state, own.path, own.metadata_location,
            own.line, own.first_seen, own.absent_since, func.coalesce(last.c.started, own.first_seen).label("seen"),
            image.repository, image.digest, image.platform, t.repository.c.host, t.repository.c.name.label("repo"),
        )
        .join(t.image, image.id == own.image)
        .join(t.repository, t.repository.c.id == image.repository)
        .outerjoin(last, last.c.id == own.last_seen)
        .where(own.secret == secret)
        .order_by(own.image, own.id)
    )  # fmt: skip


def _tags(connection: Connection, images: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return the present tags of images, by image: tags of the image itself, and of indexes that list it."""
    found: dict[int, set[str]] = {}
    # The sum keeps SQLite from the index by repository, which would read all tags of each repository.
    same_repository = t.tag.c.repository + 0 == t.image.c.repository
    named, is_tag = select(t.image.c.id, t.tag.c.name), t.tag.c.name.not_like("%:%")
    itself = named.join(t.tag, and_(t.tag.c.manifest == t.image.c.digest, same_repository))
    listed = named.join(t.leaf, and_(t.leaf.c.digest == t.image.c.digest, t.leaf.c.digest != t.leaf.c.manifest)).join(
        t.tag, and_(t.tag.c.manifest == t.leaf.c.manifest, same_repository)
    )
    for batch in batches(images):
        for query in (itself, listed):
            present = query.where(t.image.c.id.in_(batch), t.tag.c.absent_since.is_(None), is_tag)
            for image, name in connection.execute(present):
                found.setdefault(image, set()).add(name)
    return {image: tuple(sorted(names)) for image, names in found.items()}


def _withdrawn(connection: Connection, images: Sequence[int]) -> dict[int, tuple[bool | None, tuple[str, ...]]]:
    """Return the newest answer of the registry about withdrawn images, with their last tags."""
    own = t.withdrawn.c
    found: dict[int, tuple[bool | None, tuple[str, ...]]] = {}
    for batch in batches(images):
        newest = select(own.image, func.max(own.sweep).label("sweep")).where(own.image.in_(batch)).group_by(own.image)
        last = newest.subquery()
        query = select(own.image, own.pullable, own.tags).join(
            last, and_(last.c.image == own.image, last.c.sweep == own.sweep)
        )
        for image, pullable, tags in connection.execute(query):
            found[image] = (pullable, tuple(json.loads(tags)))
    return found


def _image(
    rows: Sequence[Any], tags: tuple[str, ...], withdrawn: tuple[bool | None, tuple[str, ...]] | None
) -> HoldingImage:
    first = rows[0]
    pullable, last_tags = withdrawn if withdrawn and not tags else (True, ())
    return HoldingImage(
        first.host, first.repo, first.digest, first.platform, tags, last_tags,
        False if first.absent_since is not None else pullable,
        min(row.first_seen for row in rows), max(row.seen for row in rows),
        tuple(
            Place(r.rule, r.name, r.severity, r.masked, r.state, r.path, r.metadata_location, r.line) for r in rows
        ),
    )  # fmt: skip
