"""Images that no tag names any more: whether they can still be pulled, and so whether their findings are gone.

    candidates(store, sweep, …)   audited images of a repository that no tag leads to, and that are not known deleted
    keep(store, sweep, …)         what the registry said of their digests

An image is led to by a tag, or by an index that a tag names. A tag that a sweep leaves out still leads to its image.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select

from auditor.core.image_config import Platform
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches, parse_platform
from auditor.fleet.store.presence import Sweep, mark_absent, mark_present

_IS_TAG = t.tag.c.name.not_like("%:%")  # else it is a digest that was listed


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An image that no tag names; `tags` are those that did until the last was moved or deleted."""

    id: int
    digest: str
    platform: Platform | None
    tags: tuple[str, ...]


def find_withdrawn(store: SweepStore, sweep: Sweep, repository: int, seen: Collection[str]) -> list[Withdrawn]:
    """Return the withdrawn images of a repository, but for those whose digests a sweep has `seen` all the same."""

    def work(connection: Connection) -> list[Withdrawn]:
        led_to = _leaves(repository, t.tag.c.absent_since.is_(None)).with_only_columns(t.leaf.c.digest)
        wanted = select(t.image.c.id, t.image.c.digest, t.image.c.platform).where(
            t.image.c.repository == repository,
            or_(t.image.c.absent_since.is_(None), t.image.c.absent_since == sweep.id),
            t.image.c.digest.not_in(led_to),
        )
        rows = [row for row in connection.execute(wanted.order_by(t.image.c.id)) if row.digest not in seen]
        tags = _last_tags(connection, repository, [row.digest for row in rows])
        return [Withdrawn(row.id, row.digest, parse_platform(row.platform), tags.get(row.digest, ())) for row in rows]

    return store.read(work)


def save_withdrawn(
    store: SweepStore,
    sweep: Sweep,
    repository: int,
    pullable: Mapping[Withdrawn, bool | None],
    shown: Collection[Withdrawn],
    *,
    complete: bool,
) -> None:
    """Keep whether withdrawn images can be pulled: those that can't are gone, with their findings.

    `shown` are those that the sweep is about. Where the repository was not audited in full (not `complete`), or a tag
    of the image names one that was not audited, nothing is gone: the findings may be there.
    """

    def work(connection: Connection) -> None:
        deleted = [image for image, answer in pullable.items() if answer is False]
        gone = [image.id for image in deleted if complete and not _went_on_unaudited(connection, repository, image)]
        there = [image.id for image, answer in pullable.items() if answer is not False]
        mark_present(connection, sweep, t.image, t.image.c.id, there)
        mark_present(connection, sweep, t.finding, t.finding.c.image, there, t.finding.c.reported.is_(True))
        mark_absent(connection, sweep, t.image, t.image.c.id, gone)
        mark_absent(connection, sweep, t.finding, t.finding.c.image, gone)
        own = select(t.image.c.id).where(t.image.c.repository == repository)
        connection.execute(delete(t.withdrawn).where(t.withdrawn.c.sweep == sweep.id, t.withdrawn.c.image.in_(own)))
        rows = [
            {"sweep": sweep.id, "image": image.id, "pullable": pullable[image], "tags": json.dumps(image.tags)}
            for image in shown
        ]
        if rows:
            connection.execute(insert(t.withdrawn), rows)

    store.write(work)


def _leaves(repository: int, *where: Any) -> Any:
    """Select the tags of a repository with what their manifests consist of."""
    return (
        select(t.tag.c.name, t.tag.c.absent_since, t.leaf.c.digest, t.leaf.c.platform)
        .join(t.leaf, t.leaf.c.manifest == t.tag.c.manifest)
        .where(t.tag.c.repository == repository, _IS_TAG, *where)
    )


def _last_tags(connection: Connection, repository: int, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags that named images until nothing did."""
    went: dict[str, dict[str, int]] = {}
    for chunk in batches(digests):
        wanted = _leaves(repository, t.tag.c.absent_since.is_not(None), t.leaf.c.digest.in_(chunk))
        for row in connection.execute(wanted):
            own = went.setdefault(row.digest, {})
            own[row.name] = max(own.get(row.name, 0), row.absent_since)
    return {
        digest: tuple(sorted(name for name, sweep in own.items() if sweep == max(own.values())))
        for digest, own in went.items()
    }


def _went_on_unaudited(connection: Connection, repository: int, image: Withdrawn) -> bool:
    """Whether a tag that named an image names one of the same platform by now that was not audited."""
    audited = select(t.image.c.digest).where(t.image.c.repository == repository)
    wanted = _leaves(
        repository, t.tag.c.absent_since.is_(None), t.tag.c.name.in_(image.tags), t.leaf.c.subject.is_(None),
        t.leaf.c.digest.not_in(audited),
    )  # fmt: skip
    platforms = [row.platform for row in connection.execute(wanted)]
    return any(image.platform is None or platform in (None, str(image.platform)) for platform in platforms)
