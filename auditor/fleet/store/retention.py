"""Retention: deletion of old sweeps, for --keep."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select

from auditor.fleet.store import lease
from auditor.fleet.store import schema as t
from auditor.fleet.store.acknowledgements import delete_unused
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.manifests import batches


def delete_old_sweeps(store: SweepStore, before: str) -> int:
    """Delete sweeps that ended before a time, and rows that only they have seen; return the number of sweeps.

    The newest finished sweep of a registry stays, the newest one without a filter too, and every running sweep.
    """

    def work(connection: Connection) -> int:
        active = lease.active_leases(connection)
        old = _old(connection, before, active)
        for batch in batches(old):
            for table in (t.finding, t.image):
                connection.execute(delete(table).where(table.c.last_seen.in_(batch)))
            connection.execute(
                delete(t.tag).where(t.tag.c.last_seen.in_(batch), t.tag.c.manifest.not_in(_manifests_of_images()))
            )
            connection.execute(delete(t.sweep).where(t.sweep.c.id.in_(batch)))
        if old and not any(
            lease.is_sweep_lease(name) for name in active
        ):  # a running sweep may be about to store their images
            _delete_orphans(connection, max(old))
        return len(old)

    return store.write(work)


def _old(connection: Connection, before: str, active: set[str]) -> list[int]:
    ended = t.sweep.c.finished.is_not(None)
    newest = select(func.max(t.sweep.c.id)).where(ended).group_by(t.sweep.c.registry, t.sweep.c.filter_text.is_(None))
    old = select(t.sweep.c.id, t.sweep.c.registry, t.sweep.c.scope, t.sweep.c.finished).where(
        func.coalesce(t.sweep.c.finished, t.sweep.c.started) < before, t.sweep.c.id.not_in(newest)
    )
    return [
        row.id
        for row in connection.execute(old)
        if row.finished is not None or lease.sweep_lease_name(row.registry, row.scope) not in active
    ]


def _manifests_of_images() -> Select[Any]:
    """Select the manifests of stored images: withdrawn images are reported with their last tags."""
    return select(t.leaf.c.manifest).join(t.image, t.image.c.digest == t.leaf.c.digest)


def _delete_orphans(connection: Connection, last: int) -> None:
    """Delete layers without an image that no sweep after `last` read, and manifests without a tag or an image.

    Acknowledgements and alerts without a finding are deleted too.
    """
    read = or_(t.layer.c.read_in.is_(None), t.layer.c.read_in <= last)
    connection.execute(delete(t.layer).where(t.layer.c.id.not_in(select(t.image_layer.c.layer)), read))
    named = select(t.tag.c.manifest).union(select(t.image.c.digest))
    connection.execute(delete(t.manifest).where(t.manifest.c.digest.not_in(named)))
    delete_unused(connection)
