"""Look-up of one secret: every image that holds it or held it, with its tags.

find_secrets(store, text)      secrets with an id that begins with a text, or with a finding of that id
known_secrets(store, hmacs)    those of some HMACs that are secrets of the store
images_with(store, secret)     images with the secret in groups, those that can be pulled first
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Text, and_, cast, exists, func, select

from auditor.core.dataclass import dataclass
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches
from auditor.fleet.store.schema.columns import hex_digits
from auditor.fleet.store.withdrawn import last_tags

LEAST_DIGITS = 8
"""Least number of digits of an abbreviated secret id."""

_MOST_IDS = 5
_SECRET_DIGITS, _FINDING_DIGITS = 32, 16
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


_Tagged = tuple[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images of one repository that have a secret at the same places, seen at the same times; times are RFC 3339.

    `images` are pairs of tags and digest, because a secret may be in all images of a registry. The tags name the image
    now, or with `is_untagged` named it last. `pullable` is False once the registry reported the digests as deleted, and
    None if it did not answer.
    """

    host: str
    repository: str
    platform: str | None
    first_seen: str
    last_seen: str
    places: tuple[Place, ...]
    images: Sequence[_Tagged]
    pullable: bool | None = True
    is_untagged: bool = False


_Withdrawn = dict[tuple[str, str, str], tuple[bool | None, tuple[str, ...]]]
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


def known_secrets(store: SweepStore, hmacs: Collection[bytes]) -> set[bytes]:
    """Return those of the HMACs that are secrets of the store."""
    secret, found = t.finding.c.secret, set[bytes]()
    for batch in batches(sorted(set(hmacs))):
        query = select(secret).where(secret.in_(batch)).distinct()
        found.update(bytes(one) for one in store.read(lambda c, own=query: c.execute(own).scalars().all()))  # type: ignore[misc]
    return found


def images_with(store: SweepStore, secret: str) -> list[ImageGroup]:
    """Return the images with a secret, those that can be pulled first, then by repository and tag."""

    def work(connection: Connection) -> list[ImageGroup]:
        own = bytes.fromhex(secret)
        found = connection.execute(_distinct_places(own)).all()
        places = _Places(found)
        rows = connection.execute(_image_lists(own, places.varying)).all()
        has_indexes = connection.execute(_LISTED.limit(1)).first()  # the database would read all images for none
        index_tags = {row.repository: row.images for row in connection.execute(_index_tags(own))} if has_indexes else {}
        is_deleted = any(row.absent_since is not None for row in found)
        withdrawn = {**(_deleted(connection, own) if is_deleted else {}), **_withdrawn(connection, own)}
        return [
            group
            for host, name, repository, platform, text in sorted(rows, key=lambda row: (*row[:2], row[3] or ""))
            for seen, images in places.images(text, index_tags.get(repository))
            for group in _groups(host, name, platform, seen, images, withdrawn)
        ]

    return sorted(store.read(work), key=lambda group: group.pullable is False)


def _distinct_places(secret: bytes) -> Any:
    """Query the places of a secret without the images: few, even of a secret in thousands of images."""
    distinct = select(*_PLACE).where(t.finding.c.secret == secret).distinct().subquery()
    last_seen = func.coalesce(t.sweep.c.started, distinct.c.first_seen).label("last_time")
    return select(distinct, last_seen).outerjoin(t.sweep, t.sweep.c.id == distinct.c.last_seen)


def _image_lists(secret: bytes, varying: Sequence[Any]) -> Any:
    """Query the images of a secret as one text for each repository and platform.

    An item of the text is a tag with the digest that it names, and with the columns of the place that vary between
    places, after the id of the finding. It is repeated for further tags and places. The database joins texts in a
    fraction of the time that Python takes to convert rows.
    """
    image = t.image.c
    place = [cast(t.finding.c.id, Text), *(func.coalesce(cast(column, Text), "") for column in varying)]
    item = _joined(func.coalesce(t.tag.c.name, ""), hex_digits(image.digest), *(place if varying else ()))
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
    """Query the tags of indexes that list images with a secret, as one text of tags and digests for each repository."""
    image = t.image.c
    item = _joined(t.tag.c.name, hex_digits(image.digest))
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """Places of a secret in images, and when they were seen; `is_absent` if the digests are deleted."""

    first_seen: str
    last_seen: str
    is_absent: bool
    places: tuple[Place, ...]


_Images = dict[str, tuple[str, ...]]
"""Tags of images, by the hexadecimal digits of their digest, in the order of the first tag."""


class _Places:
    """Distinct places of a secret, each with a key: the values of the columns that vary between them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        own = [number for number in range(len(_PLACE)) if len({row[number] for row in rows}) > 1]
        self.varying = [_PLACE[number] for number in own]
        self._known = {
            _FIELD.join("" if row[number] is None else str(row[number]) for number in own): _Seen(
                row.first_seen, row.last_time, row.absent_since is not None, (Place(*row[:_IN_PLACE]),)
            )
            for row in rows
        }

    def images(self, text: str, index_tags: str | None) -> Sequence[tuple[_Seen, _Images]]:
        """Return the images of a text of `_image_lists` by their places.

        `index_tags` is the text of `_index_tags` for the repository, which has images of other platforms too.
        """
        items = [item.split(_FIELD, 3) for item in sorted(text.split(_ITEM))]
        images: _Images = {digits: (tag,) if tag else () for tag, digits, *_ in items}
        if len(images) < len(items) or index_tags is not None:
            listed = [item.split(_FIELD) for item in index_tags.split(_ITEM)] if index_tags else []
            images = _all_tags([*items, *(item for item in listed if item[1] in images)])
        if not self.varying:
            return [(seen, images) for seen in self._known.values()]
        keys: dict[str, dict[str, None]] = {}
        for _, digits, _, key in sorted(items, key=lambda fields: int(fields[2])):  # the oldest finding first
            keys.setdefault(digits, {})[key] = None
        found: dict[tuple[str, ...], _Images] = {}
        for digits, tags in images.items():
            found.setdefault(tuple(keys[digits]), {})[digits] = tags
        return [(self._merged(own), by_digits) for own, by_digits in found.items()]

    def _merged(self, keys: Sequence[str]) -> _Seen:
        seen = [self._known[key] for key in keys]
        return _Seen(
            min(one.first_seen for one in seen),
            max(one.last_seen for one in seen),
            seen[0].is_absent,
            tuple(place for one in seen for place in one.places),
        )


def _all_tags(items: Iterable[Sequence[str]]) -> _Images:
    """Return the tags of each digest that several items name."""
    found: dict[str, set[str]] = {}
    for tag, digits, *_ in items:
        found.setdefault(digits, set()).add(tag)
    tags = {digits: tuple(sorted(own - {""})) for digits, own in found.items()}
    return dict(sorted(tags.items(), key=lambda item: (item[1], item[0])))


def _groups(
    host: str, repository: str, platform: str | None, seen: _Seen, images: _Images, withdrawn: _Withdrawn
) -> Iterator[ImageGroup]:
    """Yield the images with a tag as one group, then those without one, by the answer of the registry."""
    tagged = [(tags, _digest(digits)) for digits, tags in images.items() if tags]
    groups: dict[tuple[bool | None, bool], list[_Tagged]] = {(True, False): tagged} if tagged else {}
    if len(tagged) < len(images):
        for digest in [_digest(digits) for digits, tags in images.items() if not tags]:
            pullable, last_tags = withdrawn.get((host, repository, digest), (True, ()))
            groups.setdefault((pullable, True), []).append((last_tags, digest))
    for (pullable, is_untagged), own in groups.items():
        yield ImageGroup(
            host, repository, platform, seen.first_seen, seen.last_seen, seen.places, own,
            False if seen.is_absent else pullable, is_untagged,
        )  # fmt: skip


def _digest(digits: str) -> str:
    return f"sha{4 * len(digits)}:{digits}"


def _deleted(connection: Connection, secret: bytes) -> _Withdrawn:
    """Return the deleted images with a secret, with their last tags.

    Only the sweep that finds an image deleted lists it as withdrawn.
    """
    image, repository = t.image.c, t.repository.c
    query = (
        select(repository.id, repository.host, repository.name, image.digest)
        .join(t.image, image.repository == repository.id)
        .join(t.finding, _FINDING.image == image.id)
        .where(_FINDING.secret == secret, _FINDING.absent_since.is_not(None))
    )
    digests: dict[tuple[int, str, str], set[str]] = {}
    for number, host, name, digest in connection.execute(query):
        digests.setdefault((number, host, name), set()).add(digest)
    return {
        (host, name, digest): (False, tags)
        for (number, host, name), own in digests.items()
        for digest, tags in last_tags(connection, number, sorted(own)).items()
    }


def _withdrawn(connection: Connection, secret: bytes) -> _Withdrawn:
    """Return the newest answer of the registry about withdrawn images with a secret, with their last tags."""
    own = t.withdrawn.c
    query = (
        select(t.repository.c.host, t.repository.c.name, t.image.c.digest, own.pullable, own.tags)
        .join(t.image, t.image.c.id == own.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(exists().where(t.finding.c.secret == secret, t.finding.c.image == own.image))
        .order_by(own.sweep)
    )
    return {
        (host, name, digest): (pullable, tuple(json.loads(tags)))
        for host, name, digest, pullable, tags in connection.execute(query)
    }
