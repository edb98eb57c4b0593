"""Look-up of one secret: every image that holds it or held it, with its tags.

find_secrets(store, text)      secrets with an id that begins with a text, or with a finding of that id
images_with(store, secret)     images with the secret, those that can be pulled first
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Text, and_, cast, func, select

from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.schema.columns import hex_digits

LEAST_DIGITS = 8
"""Least number of digits of an abbreviated secret id."""

_MOST_IDS = 5
_SECRET_DIGITS, _FINDING_DIGITS = 32, 16
_REPOSITORY = itemgetter(0, 1)
_ITEM, _FIELD = "\x1e", "\x1f"  # separators in texts of the database; neither is in printable columns
_FINDING = t.finding.c
_PLACE = (
    _FINDING.rule, _FINDING.name, _FINDING.severity, _FINDING.masked, _FINDING.state, _FINDING.path,
    _FINDING.metadata_location, _FINDING.line, _FINDING.finding, _FINDING.first_seen, _FINDING.last_seen,
    _FINDING.absent_since,
)  # fmt: skip
_IN_PLACE = 8  # of these columns, the fields of Place
_IS_LISTED = t.leaf.c.digest != t.leaf.c.manifest
_LISTED = select(t.leaf.c.digest).where(_IS_LISTED)


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


@dataclass(frozen=True, slots=True, eq=False)
class ImageGroup:
    """Images of one repository that have a secret at the same places, seen at the same times; times are RFC 3339."""

    host: str
    repository: str
    platform: str | None
    first_seen: str
    last_seen: str
    is_absent: bool
    places: tuple[Place, ...]


class HoldingImage(NamedTuple):
    """An image with a secret. `tags` name it now, `last_tags` named it last.

    `pullable` is False once the registry reported the digest as deleted, and None if it did not answer. A named tuple
    with what it shares in a group: a secret may be in all images of a registry. The order is that by name.
    """

    tags: tuple[str, ...]
    digest: str
    group: ImageGroup
    last_tags: tuple[str, ...] = ()
    pullable: bool | None = True


_Withdrawn = dict[tuple[str, ...], tuple[bool | None, tuple[str, ...]]]
"""Whether withdrawn images can be pulled, and their last tags, by host, repository and digest."""


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
        places = _Places(connection.execute(_distinct_places(own)).all())
        rows = sorted(map(tuple, connection.execute(_image_lists(own, places.varying))), key=_REPOSITORY)
        has_indexes = connection.execute(_LISTED.limit(1)).first()  # the database would read all images for none
        index_tags = {row.repository: row.images for row in connection.execute(_index_tags(own))} if has_indexes else {}
        images = list[HoldingImage]()
        for _, lists in groupby(rows, key=_REPOSITORY):
            images += _in_repository(lists, places, index_tags)
        withdrawn = functools.cache(lambda: _withdrawn(connection, own))
        return [
            image if image.tags and not image.group.is_absent else _withdrawn_image(image, withdrawn())
            for image in images
        ]

    return sorted(store.read(work), key=lambda image: image.pullable is False)


def _distinct_places(secret: bytes) -> Any:
    """Query the places of a secret without the images: few, even of a secret in thousands of images."""
    distinct = select(*_PLACE).where(t.finding.c.secret == secret).distinct().subquery()
    last_seen = func.coalesce(t.sweep.c.started, distinct.c.first_seen).label("last_time")
    return select(distinct, last_seen).outerjoin(t.sweep, t.sweep.c.id == distinct.c.last_seen)


def _image_lists(secret: bytes, varying: Sequence[Any]) -> Any:
    """Query the images of a secret as one text for each repository and platform.

    An item of the text is a digest with a tag that names it, and with the columns of the place that vary between
    places, after the id of the finding. It is repeated for further tags and places. The database joins texts in a
    fraction of the time that Python takes to convert rows.
    """
    image = t.image.c
    place = [cast(t.finding.c.id, Text), *(func.coalesce(cast(column, Text), "") for column in varying)]
    item = _joined(hex_digits(image.digest), func.coalesce(t.tag.c.name, ""), *(place if varying else ()))
    lists = (
        select(image.repository, image.platform, func.aggregate_strings(item, _ITEM).label("images"))
        .join(t.finding, t.finding.c.image == image.id)
        .outerjoin(t.tag, _named(image.digest))
        .where(t.finding.c.secret == secret)
        .group_by(image.repository, image.platform)
        .subquery()
    )
    repository = t.repository.c
    return select(repository.host, repository.name, lists).join(t.repository, repository.id == lists.c.repository)


def _index_tags(secret: bytes) -> Any:
    """Query the tags of indexes that list images with a secret, as one text of digests and tags for each repository."""
    image = t.image.c
    item = _joined(hex_digits(image.digest), t.tag.c.name)
    return (
        select(image.repository, func.aggregate_strings(item, _ITEM).label("images"))
        .join(t.finding, t.finding.c.image == image.id)
        .join(t.leaf, and_(t.leaf.c.digest == image.digest, _IS_LISTED))
        .join(t.tag, _named(t.leaf.c.manifest))
        .where(t.finding.c.secret == secret)
        .group_by(image.repository)
    )


def _named(manifest: Any) -> Any:
    """Condition for the tags in the repository of an image that name a manifest now."""
    return and_(
        t.tag.c.manifest == manifest,
        # The sum keeps SQLite from the index by repository, which would read all tags of each repository.
        t.tag.c.repository + 0 == t.image.c.repository,
        t.tag.c.absent_since.is_(None),
        t.tag.c.name.not_like("%:%"),
    )


def _joined(*fields: Any) -> Any:
    return functools.reduce(lambda text, field: text + _FIELD + field, fields)


class _Places:
    """Distinct places of a secret, each with a key: the values of the columns that vary between them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        own = [number for number in range(len(_PLACE)) if len({row[number] for row in rows}) > 1]
        self.varying = [_PLACE[number] for number in own]
        self._known: dict[str, Any] = {
            _FIELD.join("" if row[number] is None else str(row[number]) for number in own): (
                row.first_seen, row.last_time, row.absent_since is not None, (Place(*row[:_IN_PLACE]),)
            )
            for row in rows
        }  # fmt: skip

    def images(self, host: str, repository: str, platform: str | None, text: str) -> list[HoldingImage]:
        """Return an image for each item of a text of `_image_lists`, the oldest finding first."""
        items = (item.split(_FIELD, 3) for item in text.split(_ITEM))
        if not self.varying:
            (known,) = self._known.values()
            group = ImageGroup(host, repository, platform, *known)
            return [HoldingImage((tag,) if tag else (), _digest(digits), group) for digits, tag in items]
        groups = {key: ImageGroup(host, repository, platform, *known) for key, known in self._known.items()}
        return [
            HoldingImage((tag,) if tag else (), _digest(digits), groups[key])
            for digits, tag, _, key in sorted(items, key=lambda fields: int(fields[2]))
        ]


def _digest(digits: str) -> str:
    return f"sha{4 * len(digits)}:{digits}"


def _in_repository(rows: Iterable[Any], places: _Places, index_tags: Mapping[int, str]) -> list[HoldingImage]:
    """Return the images of one repository from its rows of `_image_lists`, by name."""
    images = list[HoldingImage]()
    for host, name, repository, platform, text in rows:  # noqa: B007 - the repository is the same in all rows
        images += places.images(host, name, platform, text)
    by_digest = {image.digest: image for image in images}
    if repository in index_tags:
        tags = (item.split(_FIELD) for item in index_tags[repository].split(_ITEM))
        images += [by_digest[_digest(digits)]._replace(tags=(tag,)) for digits, tag in tags]
    return sorted(images if len(images) == len(by_digest) else _merged_images(images))


def _merged_images(images: Iterable[HoldingImage]) -> Iterator[HoldingImage]:
    """Yield each image once, with all tags and places that the items with its digest have."""
    merged = functools.cache(_merged)
    by_digest: dict[str, list[HoldingImage]] = {}
    for image in images:
        by_digest.setdefault(image.digest, []).append(image)
    for digest, own in by_digest.items():
        tags = tuple(sorted({tag for image in own for tag in image.tags}))
        yield HoldingImage(tags, digest, merged(tuple(dict.fromkeys(image.group for image in own))))


def _merged(groups: Sequence[ImageGroup]) -> ImageGroup:
    """Merge the groups of the findings of an image, the oldest one first."""
    if len(groups) == 1:
        return groups[0]
    return replace(
        groups[0],
        first_seen=min(group.first_seen for group in groups),
        last_seen=max(group.last_seen for group in groups),
        places=tuple(place for group in groups for place in group.places),
    )


def _withdrawn_image(image: HoldingImage, withdrawn: _Withdrawn) -> HoldingImage:
    """Add the last tags, and whether the image can be pulled."""
    name = image.group.host, image.group.repository, image.digest
    pullable, last_tags = (True, ()) if image.tags else withdrawn.get(name, (True, ()))
    return image._replace(last_tags=last_tags, pullable=False if image.group.is_absent else pullable)


def _withdrawn(connection: Connection, secret: bytes) -> _Withdrawn:
    """Return the newest answer of the registry about withdrawn images with a secret, with their last tags."""
    own = t.withdrawn.c
    query = (
        select(t.repository.c.host, t.repository.c.name, t.image.c.digest, own.pullable, own.tags)
        .join(t.image, t.image.c.id == own.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(own.image.in_(select(t.finding.c.image).where(t.finding.c.secret == secret)))
        .order_by(own.sweep)
    )
    return {
        (*name, digest): (pullable, tuple(json.loads(tags)))
        for *name, digest, pullable, tags in connection.execute(query)
    }
