"""Look-up of one secret: every image that holds it or held it, with its tags.

find_secrets(store, text)      secrets with an id that begins with a text, or with a finding of that id
images_with(store, secret)     images with the secret, those that can be pulled first
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, and_, func, select

from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore

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
        own = bytes.fromhex(secret)
        rows = connection.execute(_findings(own))
        tags, withdrawn = _tags(connection, own), _withdrawn(connection, own)
        places: dict[Sequence[Any], Place] = {}  # equal places of many images are one object
        return [
            _image(list(group), tags.get(image, ()), withdrawn.get(image), places)
            for image, group in groupby(rows, key=itemgetter(0))
        ]

    found = store.read(work)
    return sorted(found, key=lambda one: (one.pullable is False, one.host, one.repository, one.tags, one.digest))


def _findings(secret: bytes) -> Any:
    """Query the findings of a secret by image; the columns from the second to the ninth are those of a `Place`."""
    own, last, image = t.finding.c, t.sweep.alias(), t.image.c
    return (
        select(
            own.image, own.rule, own.name, own.severity, own.masked, own.state, own.path, own.metadata_location,
            own.line, own.first_seen, own.absent_since, func.coalesce(last.c.started, own.first_seen).label("seen"),
            image.digest, image.platform, t.repository.c.host, t.repository.c.name.label("repo"),
        )
        .join(t.image, image.id == own.image)
        .join(t.repository, t.repository.c.id == image.repository)
        .outerjoin(last, last.c.id == own.last_seen)
        .where(own.secret == secret)
        .order_by(own.image, own.id)
    )  # fmt: skip


def _images(secret: bytes) -> Any:
    return select(t.finding.c.image).where(t.finding.c.secret == secret)


def _tags(connection: Connection, secret: bytes) -> dict[int, tuple[str, ...]]:
    """Return the present tags of the images with a secret: tags of the image itself, and of indexes that list it."""
    found: dict[int, set[str]] = {}
    # The sum keeps SQLite from the index by repository, which would read all tags of each repository.
    same_repository = t.tag.c.repository + 0 == t.image.c.repository
    named, is_tag = select(t.image.c.id, t.tag.c.name), t.tag.c.name.not_like("%:%")
    itself = named.join(t.tag, and_(t.tag.c.manifest == t.image.c.digest, same_repository))
    listed = named.join(t.leaf, and_(t.leaf.c.digest == t.image.c.digest, t.leaf.c.digest != t.leaf.c.manifest)).join(
        t.tag, and_(t.tag.c.manifest == t.leaf.c.manifest, same_repository)
    )
    for query in (itself, listed):
        present = query.where(t.image.c.id.in_(_images(secret)), t.tag.c.absent_since.is_(None), is_tag)
        for image, name in connection.execute(present).all():
            found.setdefault(image, set()).add(name)
    return {image: tuple(sorted(names)) for image, names in found.items()}


def _withdrawn(connection: Connection, secret: bytes) -> dict[int, tuple[bool | None, tuple[str, ...]]]:
    """Return the newest answer of the registry about withdrawn images with a secret, with their last tags."""
    own = t.withdrawn.c
    newest = select(own.image, func.max(own.sweep).label("sweep")).where(own.image.in_(_images(secret)))
    last = newest.group_by(own.image).subquery()
    is_last = and_(last.c.image == own.image, last.c.sweep == own.sweep)
    query = select(own.image, own.pullable, own.tags).join(last, is_last)
    return {image: (pullable, tuple(json.loads(tags))) for image, pullable, tags in connection.execute(query)}


def _image(
    rows: Sequence[Any],
    tags: tuple[str, ...],
    withdrawn: tuple[bool | None, tuple[str, ...]] | None,
    known: dict[Sequence[Any], Place],
) -> HoldingImage:
    first = rows[0]
    pullable, last_tags = withdrawn if withdrawn and not tags else (True, ())
    return HoldingImage(
        first.host, first.repo, first.digest, first.platform, tags, last_tags,
        False if first.absent_since is not None else pullable,
        min(row.first_seen for row in rows), max(row.seen for row in rows),
        tuple(known.get(row[1:9]) or known.setdefault(row[1:9], Place(*row[1:9])) for row in rows),
    )  # fmt: skip
