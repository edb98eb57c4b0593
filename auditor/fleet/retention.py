"""What the store forgets: --keep."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select

from auditor.fleet import schema as t
from auditor.fleet.manifests import chunks
from auditor.fleet.store import Store


def forget(store: Store, before: str) -> int:
    """Forget sweeps that ended before a time, and what none that stays has seen; return how many sweeps went.

    The newest sweep of a registry stays, and the newest of all of it.
    """

    def work(connection: Connection) -> int:
        newest = select(func.max(t.sweep.c.id)).group_by(t.sweep.c.registry, t.sweep.c.choice.is_(None))
        old = select(t.sweep.c.id).where(
            func.coalesce(t.sweep.c.finished, t.sweep.c.started) < before, t.sweep.c.id.not_in(newest)
        )
        numbers = [int(number) for number in connection.execute(old).scalars()]
        for chunk in chunks(numbers):
            for table in (t.finding, t.tag, t.image):
                connection.execute(delete(table).where(table.c.last_seen.in_(chunk)))
            connection.execute(delete(t.sweep).where(t.sweep.c.id.in_(chunk)))
        held = select(t.image_layer.c.layer)
        named = select(t.tag.c.manifest)
        connection.execute(delete(t.layer).where(t.layer.c.digest.not_in(held)))
        connection.execute(delete(t.manifest).where(t.manifest.c.digest.not_in(named)))
        return len(numbers)

    return store.write(work)
