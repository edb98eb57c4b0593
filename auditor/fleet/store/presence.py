"""Presence intervals of tags, images and findings, as a sweep sees them.

A sweep may look at a part of a registry. What it did not look at stays as it is. A tag is gone where the sweep looked
and did not find it. An image without a tag is withdrawn (withdrawn.py); with its findings it is gone once its digest is
deleted. schema/ describes the columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, delete, insert, or_, select, update

from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches

_TAG = 128  # characters that the store keeps of a tag's name: all; of a digest that stands for one, enough


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that is under way; `started` is RFC 3339, `resumed` whether it was killed before.

    `adopted` are sweeps that never ended: what they were the first to see counts as seen by this one first.
    """

    id: int
    registry: str
    started: str
    adopted: tuple[int, ...] = ()
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class RepositoryContents:
    """What a sweep saw of a repository.

    `tags` are what each tag names that was looked up, and `shown` those of them that the sweep is about; a digest that
    was listed stands for itself. `images` are the digests of those that are audited. `listed` are all tags that the
    repository has; None where only some were asked for. Where it is not `complete`, something failed: nothing is gone.
    """

    tags: Mapping[str, str]
    shown: Collection[str]
    images: Collection[str]
    listed: Collection[str] | None
    complete: bool = True


def save_contents(store: SweepStore, sweep: Sweep, repository: int, seen: RepositoryContents) -> None:
    """Note which tags and images a repository has now, and which tags it has no more. It is one transaction."""

    def work(connection: Connection) -> None:
        tags = _see_tags(connection, sweep, repository, seen)
        own = select(t.image.c.id, t.image.c.digest).where(t.image.c.repository == repository)
        wanted = set(seen.images)
        images = [row.id for row in connection.execute(own) if row.digest in wanted]
        mark_present(connection, sweep, t.image, t.image.c.id, images)
        mark_present(connection, sweep, t.finding, t.finding.c.image, images, t.finding.c.reported.is_(True))
        _note(connection, sweep, repository, t.seen_tag, t.tag, tags)
        _note(connection, sweep, repository, t.seen_image, t.image, images)

    store.write(work)


def upsert_present(
    connection: Connection, sweep: Sweep, table: Any, key: dict[str, Any], values: dict[str, Any]
) -> int:
    """Make a row that is there in this sweep, or bring it up to date; return its number."""
    where = [table.c[name] == value for name, value in key.items()]
    found = connection.execute(select(table.c.id).where(*where)).scalar()
    if found is None:
        made = connection.execute(insert(table).values(**key, **values, **_span(sweep)))
        return int(made.inserted_primary_key[0])  # type: ignore[index]
    connection.execute(update(table).where(table.c.id == found).values(**values))
    mark_present(connection, sweep, table, table.c.id, [found])
    return int(found)


def mark_present(
    connection: Connection, sweep: Sweep, table: Any, column: Any, keys: Sequence[int], *where: Any
) -> None:
    """Note that rows are there; what had gone before this sweep is there anew."""
    back = and_(table.c.absent_since.is_not(None), table.c.absent_since != sweep.id)
    anew = or_(back, table.c.present_since.in_(sweep.adopted)) if sweep.adopted else back
    behind = table.c.last_seen < sweep.id
    change = update(table).values(
        present_since=case((anew, sweep.id), else_=table.c.present_since),
        last_seen=case((behind, sweep.id), else_=table.c.last_seen),  # a later sweep may have seen it by now
        absent_since=None,
    )
    for chunk in batches(keys):
        connection.execute(change.where(column.in_(chunk), or_(behind, table.c.absent_since.is_not(None)), *where))


def mark_absent(connection: Connection, sweep: Sweep, table: Any, column: Any, keys: Sequence[int]) -> None:
    """Note that rows are gone, but for what a later sweep has seen."""
    change = (
        update(table).values(absent_since=sweep.id).where(table.c.absent_since.is_(None), table.c.last_seen <= sweep.id)
    )
    for chunk in batches(keys):
        connection.execute(change.where(column.in_(chunk)))


def nonempty_repositories(store: SweepStore, host: str) -> list[str]:
    """Return the repositories of a registry that had a tag, or an image, when they were last looked at."""
    tagged = select(t.tag.c.repository).where(t.tag.c.absent_since.is_(None))
    held = select(t.image.c.repository).where(t.image.c.absent_since.is_(None))
    wanted = select(t.repository.c.name).where(
        t.repository.c.host == host, or_(t.repository.c.id.in_(tagged), t.repository.c.id.in_(held))
    )
    return list(store.read(lambda c: c.execute(wanted).scalars().all()))


def _see_tags(connection: Connection, sweep: Sweep, repository: int, seen: RepositoryContents) -> list[int]:
    """Bring the tags up to date; return the rows of those that are shown."""
    tags = {name[:_TAG]: manifest for name, manifest in seen.tags.items()}
    shown = {name[:_TAG] for name in seen.shown}
    own = select(t.tag.c.id, t.tag.c.name, t.tag.c.manifest, t.tag.c.absent_since).where(
        t.tag.c.repository == repository
    )
    rows = connection.execute(own).all()
    same = {row.name: row.id for row in rows if tags.get(row.name) == row.manifest}
    mark_present(connection, sweep, t.tag, t.tag.c.id, list(same.values()))
    made = [
        {"repository": repository, "name": name, "manifest": manifest, **_span(sweep)}
        for name, manifest in tags.items()
        if name not in same
    ]
    if made:
        connection.execute(insert(t.tag), made)
    if seen.complete:
        there = [row for row in rows if row.absent_since is None and same.get(row.name) != row.id]
        gone = [row.id for row in there if _is_gone(row.name, tags, seen.listed)]
        mark_absent(connection, sweep, t.tag, t.tag.c.id, gone)
    if made:
        same = {row.name: row.id for row in connection.execute(own) if tags.get(row.name) == row.manifest}
    return [number for name, number in same.items() if name in shown]


def _is_gone(name: str, tags: Mapping[str, str], listed: Collection[str] | None) -> bool:
    """Whether a tag moved to what `tags` says, or was deleted."""
    return name in tags or (listed is not None and ":" not in name and name not in listed)


def _note(connection: Connection, sweep: Sweep, repository: int, seen: Any, table: Any, rows: Sequence[int]) -> None:
    """Note what this sweep saw of a repository; what it saw before it was killed may be there no more."""
    if sweep.resumed:
        own = select(table.c.id).where(table.c.repository == repository)
        connection.execute(delete(seen).where(seen.c.sweep == sweep.id, seen.c[table.name].in_(own)))
    if rows:
        connection.execute(insert(seen), [{"sweep": sweep.id, table.name: row} for row in rows])


def _span(sweep: Sweep) -> dict[str, Any]:
    return {"first_seen": sweep.started, "present_since": sweep.id, "last_seen": sweep.id}
