"""Observations: the tags and images of a repository, as one or more sweeps of the same kind saw them.

    stored_repositories(store, host, names)   repositories with their newest observation
    ObservedState.of(…)                       state of a repository: equal states have equal observations
    record_observation(connection, …)         a repository that is new or has changed
    save_unchanged(store, sweep, …)           repositories in the state of their newest observation
    extend_last_seen, delete_unseen           end of observations

Most repositories do not change between two sweeps. For these a sweep writes one row, which refers to the observation of
an earlier sweep, and leaves the rows of tags and images as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, select, update

from auditor.core.dataclass import dataclass
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert

_OF_HOST = (
    select(
        t.repository.c.id, t.repository.c.name, t.repository.c.observation, t.observation.c.names,
        t.observation.c.digests, t.observation.c.attached, t.observation.c.has_withdrawn,
    )
    .outerjoin(
        t.observation,
        and_(t.observation.c.id == t.repository.c.observation, t.observation.c.repository == t.repository.c.id),
    )
    .where(t.repository.c.host == bindparam("host"), t.repository.c.name.in_(bindparam("names", expanding=True)))
)  # fmt: skip


class ObservedState(NamedTuple):
    """State of a repository, as digests: of the names of its tags with all that a sweep depends on besides, and of the
    manifests that the tags name.
    """

    names: bytes
    digests: bytes

    @classmethod
    def of(cls, names: bytes, digests: Mapping[str, str]) -> ObservedState:
        """Return the state of a repository with these manifests by tag."""
        return cls(names, _digest(sorted(digests.items())))


def names_digest(basis: str, all_tags: Collection[str] | None, versions: Sequence[str]) -> bytes:
    """Return the first digest of a state.

    `basis` is equal for sweeps with equal filters, rules and options; `versions` are the tags and digests that the
    sweep resolves.
    """
    return _digest([basis, None if all_tags is None else sorted(all_tags), versions])


@dataclass(frozen=True, slots=True)
class StoredRepository:
    """A repository of the store with its newest `observation`, None without one.

    `state` is None if the next sweep must look at everything again. `attached` is the number of tags of signatures and
    attestations, `has_withdrawn` whether images without a tag were left.
    """

    id: int
    observation: int | None = None
    state: ObservedState | None = None
    attached: int = 0
    has_withdrawn: bool = False


def stored_repositories(store: SweepStore, host: str, names: Sequence[str]) -> list[StoredRepository]:
    """Return repositories by their names; new ones are inserted."""
    values = {"host": host, "names": names}
    rows = {row.name: row for row in store.read(lambda c: c.execute(_OF_HOST, values).all())}
    missing = [name for name in names if name not in rows]

    def add(connection: Connection) -> Sequence[Any]:
        for name in missing:
            upsert(connection, t.repository, {"host": host, "name": name}, {})
        return connection.execute(_OF_HOST, {"host": host, "names": missing}).all()

    if missing:
        rows |= {row.name: row for row in store.write(add)}
    return [_repository(rows[name]) for name in names]


def record_observation(
    connection: Connection,
    repository: int,
    state: ObservedState | None,
    attached: int,
    tags: Iterable[int],
    images: Iterable[int],
) -> int:
    """Store the ids of the tags and images that a sweep saw; return the id of the observation, now the newest one."""
    names, digests = state or (None, None)
    values = {"repository": repository, "names": names, "digests": digests, "attached": attached}
    row = connection.execute(insert(t.observation).values(**values, has_withdrawn=False))
    number = int(row.inserted_primary_key[0])  # type: ignore[index]
    for table, ids in ((t.observed_tag, tags), (t.observed_image, images)):
        rows = [(number, own) for own in ids]
        if rows:
            connection.execute(insert(table), [dict(zip(table.c.keys(), values, strict=True)) for values in rows])
    own_row = t.repository.c.id == repository
    connection.execute(update(t.repository).where(own_row).values(observation=number))
    return number


def save_seen(connection: Connection, sweep: int, observations: Sequence[int], *, resumed: bool) -> None:
    """Record the observations that hold in a sweep, in place of those that it recorded before it was killed."""
    if resumed:
        repositories = select(t.observation.c.repository).where(t.observation.c.id.in_(observations))
        own = select(t.observation.c.id).where(t.observation.c.repository.in_(repositories))
        connection.execute(delete(t.seen).where(t.seen.c.sweep == sweep, t.seen.c.observation.in_(own)))
    connection.execute(insert(t.seen), [{"sweep": sweep, "observation": number} for number in observations])


def save_unchanged(store: SweepStore, sweep: int, observations: Sequence[int], *, resumed: bool) -> None:
    """Record that a sweep saw repositories in the state of these observations; their findings were seen again."""
    images = select(t.observed_image.c.image).where(t.observed_image.c.observation.in_(observations))
    own = t.finding.c
    seen_again = (
        update(t.finding)
        .where(own.image.in_(images), own.reported.is_(True), own.last_seen < sweep)
        .values(last_seen=sweep)
    )

    def work(connection: Connection) -> None:
        save_seen(connection, sweep, observations, resumed=resumed)
        connection.execute(seen_again)

    if observations:
        store.write(work)


def extend_last_seen(connection: Connection, sweeps: Collection[int]) -> None:
    """Set the last sweep that saw tags and images, before the observations of sweeps are deleted."""
    seen = select(t.seen.c.sweep).where(t.seen.c.sweep.in_(sweeps)).distinct().order_by(t.seen.c.sweep)
    kept = select(t.seen.c.observation).where(t.seen.c.sweep.not_in(sweeps))
    for sweep in connection.execute(seen).scalars().all():
        for table, observed in ((t.tag, t.observed_tag), (t.image, t.observed_image)):
            rows = (
                select(observed.c[table.name])
                .join(t.seen, t.seen.c.observation == observed.c.observation)
                .where(t.seen.c.sweep == sweep, t.seen.c.observation.not_in(kept))
            )
            own = and_(table.c.id.in_(rows), table.c.last_seen < sweep)
            connection.execute(update(table).where(own).values(last_seen=sweep))


def delete_unseen(connection: Connection) -> None:
    """Delete the observations to which no sweep refers."""
    seen = exists().where(t.seen.c.observation == t.observation.c.id)
    connection.execute(delete(t.observation).where(~seen))


def _repository(row: Any) -> StoredRepository:
    if row.attached is None:
        return StoredRepository(row.id)
    state = None if row.names is None else ObservedState(bytes(row.names), bytes(row.digests))
    return StoredRepository(row.id, row.observation, state, row.attached, row.has_withdrawn)


def _digest(value: object) -> bytes:
    return hashlib.blake2b(json.dumps(value, separators=(",", ":")).encode(), digest_size=16).digest()
