"""Withdrawn images: no tag names them, but their digest may still be pulled.

    save_contents(store, sweep, …)    contents of a repository; returns its audited images without a tag
    still_withdrawn(store, sweep, …)  the same images of a repository that has not changed
    save_withdrawn(store, sweep, …)   answers of the registry about their digests

An image has a tag if the tag names it, or names an index that lists it. Tags excluded by a filter count.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, delete, insert, or_, select, update

from auditor.core.dataclass import dataclass
from auditor.core.image_config import Platform
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches, parse_platform
from auditor.fleet.store.presence import RepositoryContents, Sweep, mark_absent, mark_present, update_contents

_IS_TAG = t.tag.c.name.not_like("%:%")  # other rows are digests listed by the user


def _leaves(repository: Any, *where: Any) -> Any:
    """Select the tags of a repository with the leaves of their manifests."""
    return (
        select(t.tag.c.name, t.tag.c.absent_since, t.leaf.c.digest, t.leaf.c.platform)
        .join(t.leaf, t.leaf.c.manifest == t.tag.c.manifest)
        .where(t.tag.c.repository == repository, _IS_TAG, *where)
    )


_REPOSITORY = bindparam("repository", type_=Integer)
_TAGGED = _leaves(_REPOSITORY, t.tag.c.absent_since.is_(None)).with_only_columns(t.leaf.c.digest)
_UNTAGGED = (
    select(t.image.c.id, t.image.c.digest, t.image.c.platform)
    .where(
        t.image.c.repository == _REPOSITORY,
        or_(t.image.c.absent_since.is_(None), t.image.c.absent_since == bindparam("sweep", type_=Integer)),
        t.image.c.digest.not_in(_TAGGED),
        t.image.c.id.not_in(
            select(t.observed_image.c.image).where(t.observed_image.c.observation == bindparam("observation"))
        ),
    )
    .order_by(t.image.c.id)
)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Image without a tag; `tags` are its last ones."""

    id: int
    digest: str
    platform: Platform | None
    tags: tuple[str, ...]


def save_contents(store: SweepStore, sweep: Sweep, repository: int, seen: RepositoryContents) -> list[Withdrawn]:
    """Update the presence intervals of a repository; return its withdrawn images.

    Those that the sweep saw, and those known to be deleted, are left out.
    """

    def work(connection: Connection) -> list[Withdrawn]:
        observation = update_contents(connection, sweep, repository, seen)
        found = _withdrawn(connection, sweep, repository, observation)
        if found:
            own = t.observation.c.id == observation
            connection.execute(update(t.observation).where(own).values(has_withdrawn=True))
        return found

    return store.write(work)


def still_withdrawn(store: SweepStore, sweep: Sweep, repository: int, observation: int) -> list[Withdrawn]:
    """Return the withdrawn images of a repository in the state of its newest observation."""
    return store.read(lambda c: _withdrawn(c, sweep, repository, observation))


def save_withdrawn(
    store: SweepStore,
    sweep: Sweep,
    repository: int,
    pullable: Mapping[Withdrawn, bool | None],
    selected: Collection[Withdrawn],
    *,
    complete: bool,
) -> None:
    """Store whether withdrawn images can be pulled; deleted ones become absent, with their findings.

    `selected` are those that the filter of the sweep covers. No image becomes absent if the repository was not audited
    in full (not `complete`), or if a last tag of the image now names an unaudited image, which may have the findings.
    """

    def work(connection: Connection) -> None:
        deleted = [image for image, answer in pullable.items() if answer is False]
        deleted_ids = [
            image.id for image in deleted if complete and not _is_replaced_unaudited(connection, repository, image)
        ]
        pullable_ids = [image.id for image, answer in pullable.items() if answer is not False]
        mark_present(connection, sweep, t.image.c.id, pullable_ids)
        mark_present(connection, sweep, t.finding.c.image, pullable_ids)
        mark_absent(connection, sweep, t.image, t.image.c.id, deleted_ids)
        mark_absent(connection, sweep, t.finding, t.finding.c.image, deleted_ids)
        own = select(t.image.c.id).where(t.image.c.repository == repository)
        connection.execute(delete(t.withdrawn).where(t.withdrawn.c.sweep == sweep.id, t.withdrawn.c.image.in_(own)))
        rows = [
            {"sweep": sweep.id, "image": image.id, "pullable": pullable[image], "tags": json.dumps(image.tags)}
            for image in selected
        ]
        if rows:
            connection.execute(insert(t.withdrawn), rows)

    store.write(work)


def _withdrawn(connection: Connection, sweep: Sweep, repository: int, observation: int) -> list[Withdrawn]:
    values = {"repository": repository, "sweep": sweep.id, "observation": observation}
    rows = connection.execute(_UNTAGGED, values).all()
    tags = last_tags(connection, repository, [row.digest for row in rows])
    return [Withdrawn(row.id, row.digest, parse_platform(row.platform), tags.get(row.digest, ())) for row in rows]


def last_tags(connection: Connection, repository: int, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the last tags of images that no tag names."""
    absent: dict[str, dict[str, int]] = {}
    for batch in batches(digests):
        query = _leaves(repository, t.tag.c.absent_since.is_not(None), t.leaf.c.digest.in_(batch))
        for row in connection.execute(query):
            own = absent.setdefault(row.digest, {})
            own[row.name] = max(own.get(row.name, 0), row.absent_since)
    return {
        digest: tuple(sorted(name for name, sweep in own.items() if sweep == max(own.values())))
        for digest, own in absent.items()
    }


def _is_replaced_unaudited(connection: Connection, repository: int, image: Withdrawn) -> bool:
    """Whether a last tag of an image now names an unaudited image of the same platform."""
    audited = select(t.image.c.digest).where(t.image.c.repository == repository)
    query = _leaves(
        repository, t.tag.c.absent_since.is_(None), t.tag.c.name.in_(image.tags), t.leaf.c.subject.is_(None),
        t.leaf.c.digest.not_in(audited),
    )  # fmt: skip
    platforms = [row.platform for row in connection.execute(query)]
    return any(image.platform is None or platform in (None, str(image.platform)) for platform in platforms)
