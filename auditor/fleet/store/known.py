"""Contents of a repository as earlier sweeps left them, in one transaction: what a survey need not request again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, String, bindparam, select

from auditor.core.digests import Digest
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert
from auditor.fleet.store.manifests import Leaf, leaves_by_manifest

_HOST, _NAME = bindparam("host", type_=String), bindparam("name", type_=String)
_REPOSITORY = bindparam("repository", type_=Integer)
_TAG_IS_PRESENT = (t.tag.c.repository == _REPOSITORY, t.tag.c.absent_since.is_(None))

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_ID = select(t.repository.c.id).where(t.repository.c.host == _HOST, t.repository.c.name == _NAME)
_TAGS = select(t.tag.c.name, t.tag.c.manifest).where(*_TAG_IS_PRESENT).order_by(t.tag.c.last_seen)
_LEAVES = (
    select(t.leaf)
    .where(t.leaf.c.manifest.in_(select(t.tag.c.manifest).where(*_TAG_IS_PRESENT)))
    .order_by(t.leaf.c.manifest, t.leaf.c.position)
)
_AUDITED = select(t.image.c.digest, t.image.c.audit_key).where(t.image.c.repository == _REPOSITORY)


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """A repository of the store. `id` is the id of its row.

    `tags` has the manifest that each present tag named last, `leaves` the leaves of those manifests, `audit_keys` the
    audit key of each audited image.
    """

    id: int
    tags: Mapping[str, Digest]
    leaves: Mapping[Digest, tuple[Leaf, ...]]
    audit_keys: Mapping[str, str]


def known_repository(store: SweepStore, host: str, name: str) -> KnownRepository:
    """Return a repository with its contents; a new one is inserted."""
    key = {"host": host, "name": name}
    found = store.read(lambda c: _known(c, c.execute(_ID, key).scalar()))
    return found or KnownRepository(repository_id(store, host, name), {}, {}, {})


def repository_id(store: SweepStore, host: str, name: str) -> int:
    """Return the id of a repository; a new one is inserted."""
    key = {"host": host, "name": name}

    def work(connection: Connection) -> int:
        upsert(connection, t.repository, key, {})
        return int(connection.execute(_ID, key).scalar_one())

    return store.write(work)


def _known(connection: Connection, repository: int | None) -> KnownRepository | None:
    if repository is None:
        return None

    def rows(query: Any) -> Iterable[Any]:
        return connection.execute(query, {"repository": repository}).all()

    return KnownRepository(
        repository,
        {row.name: Digest(row.manifest) for row in rows(_TAGS)},
        leaves_by_manifest(rows(_LEAVES)),
        {row.digest: row.audit_key for row in rows(_AUDITED)},
    )
