"""Retention: deletion of old sweeps, for --keep."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select

from auditor.fleet.store import lease
from auditor.fleet.store import schema as t
from auditor.fleet.store.acknowledgements import delete_unused
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_use import used_layers
from auditor.fleet.store.manifests import batches
from auditor.fleet.store.observations import delete_unseen, extend_last_seen


def delete_old_sweeps(store: SweepStore, before: str) -> int:
    """Delete sweeps that ended before a time, and rows that only they have seen; return the number of sweeps.

    The newest finished sweep of a registry stays, the newest one without a filter too, and every sweep of a kind of
    which one is running: it may refer to their observations.
    """

    def work(connection: Connection) -> int:
        active = lease.active_leases(connection)
        old = _old(connection, before, active)
        extend_last_seen(connection, old)
        for batch in batches(old):
            connection.execute(delete(t.sweep).where(t.sweep.c.id.in_(batch)))
        delete_unseen(connection)
        for batch in batches(old):
            connection.execute(delete(t.finding).where(t.finding.c.last_seen.in_(batch)))
            unseen = t.image.c.id.not_in(select(t.observed_image.c.image))
            connection.execute(delete(t.image).where(t.image.c.last_seen.in_(batch), unseen))
            unseen = t.tag.c.id.not_in(select(t.observed_tag.c.tag))
            unnamed = t.tag.c.manifest.not_in(_manifests_of_images())
            connection.execute(delete(t.tag).where(t.tag.c.last_seen.in_(batch), unseen, unnamed))
        if old and not any(
            lease.is_sweep_lease(name) for name in active
        ):  # a running sweep may be about to store their images
            _delete_orphans(connection, max(old))
        return len(old)

    return store.write(work)


def _old(connection: Connection, before: str, active: set[str]) -> list[int]:
    ended = t.sweep.c.finished.is_not(None)
    newest = select(func.max(t.sweep.c.id)).where(ended).group_by(t.sweep.c.registry, t.sweep.c.filter_text.is_(None))
    old = select(t.sweep.c.id, t.sweep.c.registry, t.sweep.c.scope).where(
        func.coalesce(t.sweep.c.finished, t.sweep.c.started) < before, t.sweep.c.id.not_in(newest)
    )
    return [row.id for row in connection.execute(old) if lease.sweep_lease_name(row.registry, row.scope) not in active]


def _manifests_of_images() -> Select[Any]:
    """Select the manifests of stored images: withdrawn images are reported with their last tags."""
    return select(t.leaf.c.manifest).join(t.image, t.image.c.digest == t.leaf.c.digest)


def _delete_orphans(connection: Connection, last: int) -> None:
    """Delete layers without an image that no sweep after `last` read, and manifests without a tag or an image.

    Acknowledgements and alerts without a finding are deleted too.
    """
    read, used = or_(t.layer.c.read_in.is_(None), t.layer.c.read_in <= last), used_layers(connection)
    layers = connection.execute(select(t.layer.c.id).where(read)).scalars()
    for batch in batches([layer for layer in layers if not used[layer]]):
        connection.execute(delete(t.layer).where(t.layer.c.id.in_(batch)))
    named = select(t.tag.c.manifest).union(select(t.image.c.digest))
    connection.execute(delete(t.manifest).where(t.manifest.c.digest.not_in(named)))
    delete_unused(connection)
