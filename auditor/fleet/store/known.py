"""Contents of a repository as earlier sweeps left them, in one transaction: what a survey need not request again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, select

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import Leaf, leaves_by_manifest

_REPOSITORY = bindparam("repository", type_=Integer)
_TAG_IS_PRESENT = (t.tag.c.repository == _REPOSITORY, t.tag.c.absent_since.is_(None))

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_TAGS = select(t.tag.c.name, t.tag.c.manifest).where(*_TAG_IS_PRESENT).order_by(t.tag.c.last_seen)
_LEAVES = (
    select(t.leaf)
    .where(t.leaf.c.manifest.in_(select(t.tag.c.manifest).where(*_TAG_IS_PRESENT)))
    .order_by(t.leaf.c.manifest, t.leaf.c.position)
)
_AUDITED = select(t.image.c.digest, t.image.c.audit_key).where(t.image.c.repository == _REPOSITORY)


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """Contents of a repository in the store.

    `tags` has the manifest that each present tag named last, `leaves` the leaves of those manifests, `audit_keys` the
    audit key of each audited image.
    """

    tags: Mapping[str, Digest]
    leaves: Mapping[Digest, tuple[Leaf, ...]]
    audit_keys: Mapping[str, str]


NOTHING = KnownRepository({}, {}, {})
"""Contents of a new repository."""


def known_repository(store: SweepStore, repository: int) -> KnownRepository:
    """Return the contents of a repository by its id."""
    return store.read(lambda c: _known(c, repository))


def _known(connection: Connection, repository: int) -> KnownRepository:
    def rows(query: Any) -> Iterable[Any]:
        return connection.execute(query, {"repository": repository}).all()

    return KnownRepository(
        {row.name: Digest(row.manifest) for row in rows(_TAGS)},
        leaves_by_manifest(rows(_LEAVES)),
        {row.digest: row.audit_key for row in rows(_AUDITED)},
    )
