"""Ledger: beginning and end of a sweep, downloads and failures; audits.py stores its images.

Each function is one transaction and may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, insert, select, update

from auditor.core.text import printable
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, update_statistics, upsert, upsert_all
from auditor.fleet.store.observations import delete_unseen, extend_last_seen
from auditor.fleet.store.presence import Sweep


def begin_sweep(
    store: SweepStore, registry: str, scope: str, ruleset: str, now: str, filter_text: str | None = None
) -> Sweep:
    """Begin a sweep, or continue a killed one of the same scope.

    `filter_text` are the options that exclude a part of the registry.
    """

    def work(connection: Connection) -> Sweep:
        unfinished = connection.execute(
            select(t.sweep.c.id, t.sweep.c.registry, t.sweep.c.scope, t.sweep.c.started)
            .where(t.sweep.c.finished.is_(None))
            .order_by(t.sweep.c.id.desc())
        ).all()
        own = next((row for row in unfinished if (row.registry, row.scope) == (registry, scope)), None)
        if own is not None:
            connection.execute(delete(t.failure).where(t.failure.c.sweep == own.id))
            number, started = own.id, own.started
        else:
            values = {
                "registry": registry,
                "scope": scope,
                "filter_text": filter_text,
                "ruleset": ruleset,
                "started": now,
            }
            row = connection.execute(insert(t.sweep).values(**values))
            number, started = int(row.inserted_primary_key[0]), now  # type: ignore[index]
        adopted = tuple(row.id for row in unfinished if row.id < number)
        return Sweep(number, registry, started, adopted, resumed=own is not None)

    return store.write(work)


def save_downloads(store: SweepStore, sweep: Sweep, layers: Iterable[tuple[str, str, int]]) -> None:
    """Record the download of layers: digest, diff_id and size of each."""
    rows = [
        {"digest": digest, "diff_id": diff_id, "size": size, "read_in": sweep.id}
        for digest, diff_id, size in sorted(layers)
    ]
    store.write(lambda c: upsert_all(c, t.layer, ("digest",), rows))


def was_downloaded(store: SweepStore, sweep: Sweep, digest: str) -> bool:
    """Whether this sweep downloaded a layer, perhaps before it was killed."""
    query = select(t.layer.c.digest).where(t.layer.c.digest == digest, t.layer.c.read_in == sweep.id)
    return store.read(lambda c: c.execute(query).first()) is not None


def save_failures(store: SweepStore, sweep: Sweep, failures: Iterable[tuple[str, str]]) -> None:
    """Store the references that were not audited, with reasons."""

    def work(connection: Connection) -> None:
        for reference, reason in failures:
            upsert(
                connection,
                t.failure,
                {"sweep": sweep.id, "reference": printable(reference)[:512]},
                {"reason": printable(reason)},
            )

    store.write(work)


def finish_sweep(store: SweepStore, sweep: Sweep, now: str, counts: Mapping[str, int]) -> None:
    """End a sweep with its `counts`, the columns of `sweep`; delete the observations of earlier sweeps of its kind."""

    def work(connection: Connection) -> None:
        connection.execute(update(t.sweep).where(t.sweep.c.id == sweep.id).values(finished=now, **counts))
        own = select(t.sweep.c.registry, t.sweep.c.scope).where(t.sweep.c.id == sweep.id).subquery()
        same = select(t.sweep.c.id).join(own, (t.sweep.c.registry == own.c.registry) & (t.sweep.c.scope == own.c.scope))
        before = list(connection.execute(same.where(t.sweep.c.id < sweep.id)).scalars())
        extend_last_seen(connection, before)
        for seen in (t.seen, t.withdrawn):
            connection.execute(delete(seen).where(seen.c.sweep.in_(before)))
        delete_unseen(connection)
        if not before:
            update_statistics(connection)

    store.write(work)
