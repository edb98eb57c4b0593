"""Presence intervals of tags, images and findings, updated by a sweep.

Rows that a sweep does not look for stay unchanged. A tag becomes absent if the sweep looked for it and did not find it.
An image without a tag is withdrawn (withdrawn.py); with its findings it becomes absent once its digest is deleted.
schema/ describes the columns.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, case, insert, or_, select, update

from auditor.core.dataclass import dataclass
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches
from auditor.fleet.store.observations import ObservedState, record_observation, save_seen

_REPOSITORY, _SWEEP = bindparam("repository", type_=Integer), bindparam("sweep", type_=Integer)
_KEYS = bindparam("keys", type_=Integer, expanding=True)

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_TAGS = select(t.tag.c.id, t.tag.c.name, t.tag.c.manifest, t.tag.c.absent_since).where(
    t.tag.c.repository == _REPOSITORY
)
_IMAGES = select(t.image.c.id, t.image.c.digest).where(t.image.c.repository == _REPOSITORY)
_TAG = 128  # stored characters: every tag fits; of a listed digest the start suffices


@dataclass(frozen=True, slots=True)
class Sweep:
    """A running sweep; `started` is RFC 3339, `resumed` whether it continues a killed sweep.

    `adopted` are sweeps that never finished: rows that they saw first count as first seen by this sweep.
    """

    id: int
    registry: str
    started: str
    adopted: tuple[int, ...] = ()
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class RepositoryContents:
    """Tags and images of a repository, as a sweep found them.

    `tags` maps each resolved tag to its manifest (a listed digest maps to itself). `selected` are those that the filter
    selects. `images` are the digests of the audited images. `all_tags` are all tags of the repository, None if only
    some were requested. After a failure the contents are not `complete`, and no tag becomes absent. `state` is None if
    the next sweep must look at everything again; `attached` is the number of tags of signatures and attestations.
    """

    tags: Mapping[str, str]
    selected: Collection[str]
    images: Collection[str]
    all_tags: Collection[str] | None
    complete: bool = True
    state: ObservedState | None = None
    attached: int = 0


def update_contents(connection: Connection, sweep: Sweep, repository: int, seen: RepositoryContents) -> int:
    """Update the presence intervals of a repository's tags and images; return the id of the new observation."""
    tags = _update_tags(connection, sweep, repository, seen)
    audited = set(seen.images)
    rows = connection.execute(_IMAGES, {"repository": repository}).all()
    images = [row.id for row in rows if row.digest in audited]
    mark_present(connection, sweep, t.image.c.id, images)
    mark_present(connection, sweep, t.finding.c.image, images)
    observation = record_observation(connection, repository, seen.state, seen.attached, tags, images)
    save_seen(connection, sweep.id, [observation], resumed=sweep.resumed)
    return observation


def mark_present(connection: Connection, sweep: Sweep, column: Any, keys: Sequence[int]) -> None:
    """Extend the presence intervals of rows whose `column` has one of the keys, of findings the reported ones.

    A row that was absent before this sweep gets a new interval.
    """
    change = _extension(column, restarts=bool(sweep.adopted))
    adopted = {"adopted": sweep.adopted} if sweep.adopted else {}
    for batch in batches(keys):
        connection.execute(change, {"sweep": sweep.id, "keys": batch, **adopted})


def mark_absent(connection: Connection, sweep: Sweep, table: Any, column: Any, keys: Sequence[int]) -> None:
    """End the presence intervals of rows, except those that a later sweep has seen."""
    change = (
        update(table).values(absent_since=sweep.id).where(table.c.absent_since.is_(None), table.c.last_seen <= sweep.id)
    )
    for batch in batches(keys):
        connection.execute(change.where(column.in_(batch)))


def nonempty_repositories(store: SweepStore, host: str) -> list[str]:
    """Return the repositories of a registry with a tag or an image that is present."""
    tagged = select(t.tag.c.repository).where(t.tag.c.absent_since.is_(None))
    with_image = select(t.image.c.repository).where(t.image.c.absent_since.is_(None))
    query = select(t.repository.c.name).where(
        t.repository.c.host == host, or_(t.repository.c.id.in_(tagged), t.repository.c.id.in_(with_image))
    )
    return list(store.read(lambda c: c.execute(query).scalars().all()))


def _update_tags(connection: Connection, sweep: Sweep, repository: int, seen: RepositoryContents) -> list[int]:
    """Update the tags of a repository; return the ids of the selected ones."""
    tags = {name[:_TAG]: manifest for name, manifest in seen.tags.items()}
    selected = {name[:_TAG] for name in seen.selected}
    rows = connection.execute(_TAGS, {"repository": repository}).all()
    same = {row.name: row.id for row in rows if tags.get(row.name) == row.manifest}
    mark_present(connection, sweep, t.tag.c.id, list(same.values()))
    interval = {"present_since": sweep.id, "last_seen": sweep.id}
    new_rows = [
        {"repository": repository, "name": name, "manifest": manifest, **interval}
        for name, manifest in tags.items()
        if name not in same
    ]
    if new_rows:
        connection.execute(insert(t.tag), new_rows)
    if seen.complete:
        current = [row for row in rows if row.absent_since is None and same.get(row.name) != row.id]
        gone = [row.id for row in current if _is_gone(row.name, tags, seen.all_tags)]
        mark_absent(connection, sweep, t.tag, t.tag.c.id, gone)
    if new_rows:
        rows = connection.execute(_TAGS, {"repository": repository}).all()
        same = {row.name: row.id for row in rows if tags.get(row.name) == row.manifest}
    return [number for name, number in same.items() if name in selected]


def _is_gone(name: str, tags: Mapping[str, str], all_tags: Collection[str] | None) -> bool:
    """Whether a tag moved to another manifest or was deleted."""
    return name in tags or (all_tags is not None and ":" not in name and name not in all_tags)


@functools.cache
def _extension(column: Any, *, restarts: bool) -> Any:
    """Return the statement of `mark_present`; with `restarts`, intervals that began in an adopted sweep begin again."""
    own = column.table.c
    restarted = and_(own.absent_since.is_not(None), own.absent_since != _SWEEP)
    if restarts:
        restarted = or_(restarted, own.present_since.in_(bindparam("adopted", expanding=True)))
    outdated = own.last_seen < _SWEEP
    change = update(column.table).values(
        present_since=case((restarted, _SWEEP), else_=own.present_since),
        last_seen=case((outdated, _SWEEP), else_=own.last_seen),  # a later sweep may have seen it already
        absent_since=None,
    )
    change = change.where(column.in_(_KEYS), or_(outdated, own.absent_since.is_not(None)))
    return change.where(own.reported.is_(True)) if "reported" in own else change


def new_interval(sweep: Sweep) -> dict[str, Any]:
    """Return the columns of a row that this sweep is the first to see."""
    return {"first_seen": sweep.started, "present_since": sweep.id, "last_seen": sweep.id}
