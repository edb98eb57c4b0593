"""Look-up of one secret: every image that holds it or held it, with its tags.

find_secrets(store, text)      secrets with an id that begins with a text, or with a finding of that id
images_with(store, secret)     images with the secret, those that can be pulled first
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, select

from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.schema.columns import hex_digits

LEAST_DIGITS = 8
"""Least number of digits of an abbreviated secret id."""

_MOST_IDS = 5
_SECRET_DIGITS, _FINDING_DIGITS = 32, 16
_REPOSITORY, _NAME = attrgetter("host", "repository_name"), attrgetter("tags", "digest")


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


class HoldingImage(NamedTuple):
    """An image with a secret. `tags` name it now, `last_tags` named it last; times are RFC 3339.

    `pullable` is False once the registry reported the digest as deleted, and None if it did not answer. A named tuple
    instead of a dataclass: a secret may be in all images of a registry, and a named tuple takes a third of the time.
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


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Columns of a finding that many images of one repository have in common."""

    host: str
    repository: str
    platform: str | None
    first_seen: str
    last_seen: str
    is_absent: bool
    places: tuple[Place, ...]


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
        rows = sorted(connection.execute(_finding_groups(own)), key=_REPOSITORY)
        withdrawn = functools.cache(lambda: _withdrawn(connection, own))
        return [image for _, group in groupby(rows, key=_REPOSITORY) for image in _in_repository(group, withdrawn)]

    return sorted(store.read(work), key=lambda image: image.pullable is False)


def _finding_groups(secret: bytes) -> Any:
    """Query the findings of a secret by repository and place, the oldest first.

    One row has all images that differ in digest and tags only: a secret of thousands of images is at few places, and
    the database groups findings in a fraction of the time that Python takes to convert them. `images` are digests with
    a tag each, repeated for further tags: those of the image itself, and of indexes that list it.
    """
    own, image = t.finding.c, t.image.c
    common = (
        image.repository, image.platform, own.finding, own.first_seen, own.last_seen, own.absent_since,
        own.rule, own.name, own.severity, own.masked, own.state, own.path, own.metadata_location, own.line,
    )  # fmt: skip
    listed = and_(t.leaf.c.digest == image.digest, t.leaf.c.digest != t.leaf.c.manifest)
    named = and_(
        t.tag.c.manifest.in_((image.digest, t.leaf.c.manifest)),
        # The sum keeps SQLite from the index by repository, which would read all tags of each repository.
        t.tag.c.repository + 0 == image.repository,
        t.tag.c.absent_since.is_(None),
        t.tag.c.name.not_like("%:%"),
    )
    name = hex_digits(image.digest) + " " + func.coalesce(t.tag.c.name, "")
    groups = (
        select(*common, func.min(own.id).label("oldest"), func.aggregate_strings(name, ",").label("images"))
        .select_from(t.finding)
        .join(t.image, image.id == own.image)
        .outerjoin(t.leaf, listed)
        .outerjoin(t.tag, named)
        .where(own.secret == secret)
        .group_by(*common)
        .subquery()
    )
    return (
        select(groups, t.repository.c.host, t.repository.c.name.label("repository_name"), t.sweep.c.started)
        .join(t.repository, t.repository.c.id == groups.c.repository)
        .outerjoin(t.sweep, t.sweep.c.id == groups.c.last_seen)
        .order_by(groups.c.oldest)
    )


def _in_repository(rows: Iterable[Any], withdrawn: Callable[[], _Withdrawn]) -> list[HoldingImage]:
    """Return the images of one repository from its rows of `_finding_groups`, by name."""
    found: dict[str, list[tuple[_Group, str]]] = {}
    for row in rows:
        group = _Group(
            row.host, row.repository_name, row.platform, row.first_seen, row.started or row.first_seen,
            row.absent_since is not None, (Place(*row[6:14]),),
        )  # fmt: skip
        for image in row.images.split(","):
            digest, _, tag = image.partition(" ")
            found.setdefault(digest, []).append((group, tag))
    images = [_image(f"sha{4 * len(digest)}:{digest}", own, withdrawn) for digest, own in found.items()]
    return sorted(images, key=_NAME)


def _image(digest: str, members: Sequence[tuple[_Group, str]], withdrawn: Callable[[], _Withdrawn]) -> HoldingImage:
    """Return an image from the groups of its findings, each one repeated for every tag."""
    group, tag = members[0]
    tags: tuple[str, ...] = (tag,) if tag else ()
    if len(members) > 1:
        group = _merged(list(dict.fromkeys(group for group, _ in members)))
        tags = tuple(sorted({tag for _, tag in members if tag}))
    pullable, last_tags = (True, ()) if tags else withdrawn().get((group.host, group.repository, digest), (True, ()))
    return HoldingImage(
        group.host, group.repository, digest, group.platform, tags, last_tags, False if group.is_absent else pullable,
        group.first_seen, group.last_seen, group.places,
    )  # fmt: skip


def _merged(groups: Sequence[_Group]) -> _Group:
    """Merge the findings of one image, the oldest one first."""
    return replace(
        groups[0],
        first_seen=min(group.first_seen for group in groups),
        last_seen=max(group.last_seen for group in groups),
        places=tuple(place for group in groups for place in group.places),
    )


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
