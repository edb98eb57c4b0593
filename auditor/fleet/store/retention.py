"""What the store forgets: --keep."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select

from auditor.fleet.store import lease
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches


def delete_old_sweeps(store: SweepStore, before: str) -> int:
    """Forget sweeps that ended before a time, and what none that stays has seen; return how many sweeps went.

    The newest sweep of a registry that ended stays, and the newest of all of it; so does one that goes on now.
    """

    def work(connection: Connection) -> int:
        alive = lease.active_leases(connection)
        old = _old(connection, before, alive)
        for chunk in batches(old):
            for table in (t.finding, t.image):
                connection.execute(delete(table).where(table.c.last_seen.in_(chunk)))
            connection.execute(delete(t.tag).where(t.tag.c.last_seen.in_(chunk), t.tag.c.manifest.not_in(_kept())))
            connection.execute(delete(t.sweep).where(t.sweep.c.id.in_(chunk)))
        if old and not any(lease.is_sweep_lease(name) for name in alive):  # whose images would come a moment later
            _forget_orphans(connection, max(old))
        return len(old)

    return store.write(work)


def _old(connection: Connection, before: str, alive: set[str]) -> list[int]:
    ended = t.sweep.c.finished.is_not(None)
    newest = select(func.max(t.sweep.c.id)).where(ended).group_by(t.sweep.c.registry, t.sweep.c.filter_text.is_(None))
    old = select(t.sweep.c.id, t.sweep.c.registry, t.sweep.c.scope, t.sweep.c.finished).where(
        func.coalesce(t.sweep.c.finished, t.sweep.c.started) < before, t.sweep.c.id.not_in(newest)
    )
    return [
        row.id
        for row in connection.execute(old)
        if row.finished is not None or lease.sweep_lease_name(row.registry, row.scope) not in alive
    ]


def _kept() -> Select[Any]:
    """Select the manifests that led to images which are kept: a withdrawn image is told with its last tags."""
    return select(t.leaf.c.manifest).join(t.image, t.image.c.digest == t.leaf.c.digest)


def _forget_orphans(connection: Connection, last: int) -> None:
    """Forget layers that no image has and no sweep after `last` read, and manifests that nothing names."""
    read = or_(t.layer.c.read_in.is_(None), t.layer.c.read_in <= last)
    connection.execute(delete(t.layer).where(t.layer.c.digest.not_in(select(t.image_layer.c.layer)), read))
    named = select(t.tag.c.manifest).union(select(t.image.c.digest))
    connection.execute(delete(t.manifest).where(t.manifest.c.digest.not_in(named)))
