"""Acknowledged secrets in the store.

save_acknowledgement(store, …)     acknowledge a secret in the repositories that hold it or held it
acknowledgements(store)            all acknowledged secrets, with the repositories that hold them or held them
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from auditor.core.dataclass import dataclass
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert, upsert_all

Repository = tuple[str, str]
"""Host and name of a repository."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An acknowledged secret. `secret` is hexadecimal, `created` is RFC 3339, `until` the last day, None for no end.

    `covered` are the repositories that held the secret until it was acknowledged, `holders` those that hold it now or
    held it at any time: an acknowledgement that ended does not return.
    """

    secret: str
    reason: str
    author: str
    created: str
    until: datetime.date | None
    covered: frozenset[Repository]
    holders: frozenset[Repository] = frozenset()


def save_acknowledgement(
    store: SweepStore, secret: str, reason: str, author: str, created: str, until: datetime.date | None
) -> Acknowledgement:
    """Acknowledge a secret in the repositories that hold it or held it, in place of an earlier acknowledgement.

    The alerts that receivers accepted are deleted: each is told once the acknowledgement no longer holds.
    """
    key = bytes.fromhex(secret)
    values = {
        "reason": reason,
        "author": author[:255],
        "created": created,
        "until": None if until is None else until.isoformat(),
    }

    def work(connection: Connection) -> frozenset[Repository]:
        upsert(connection, t.acknowledgement, {"secret": key}, values)  # locks the row: other processes wait
        for table in (t.acknowledged_repository, t.alert):
            connection.execute(delete(table).where(table.c.secret == key))
        rows = connection.execute(_holders().where(t.finding.c.secret == key)).all()
        covered = [{"secret": key, "repository": row.id} for row in rows]
        upsert_all(connection, t.acknowledged_repository, ("secret", "repository"), covered)
        return frozenset((row.host, row.name) for row in rows)

    held_by = store.write(work)
    return Acknowledgement(secret, reason, values["author"] or "", created, until, held_by, held_by)


def acknowledgements(store: SweepStore) -> dict[str, Acknowledgement]:
    """Return all acknowledgements by secret, also expired ones."""

    def work(connection: Connection) -> dict[str, Acknowledgement]:
        rows = connection.execute(select(t.acknowledgement).order_by(t.acknowledgement.c.secret)).all()
        if not rows:
            return {}
        covered = _by_secret(connection.execute(_covered()).all())
        acknowledged = t.finding.c.secret.in_(select(t.acknowledgement.c.secret))
        reported = t.finding.c.reported.is_(True)
        holders = _by_secret(connection.execute(_holders().where(acknowledged, reported)).all())
        found = [
            Acknowledgement(
                secret := bytes(row.secret).hex(),
                row.reason,
                row.author,
                row.created,
                None if row.until is None else datetime.date.fromisoformat(row.until),
                frozenset(covered.get(secret, ())),
                frozenset(holders.get(secret, ())),
            )
            for row in rows
        ]
        return {one.secret: one for one in found}

    return store.read(work)


def delete_acknowledgement(store: SweepStore, secret: str) -> bool:
    """Delete the acknowledgement of a secret; return whether there was one."""
    own = t.acknowledgement.c.secret == bytes.fromhex(secret)
    return bool(store.write(lambda c: c.execute(delete(t.acknowledgement).where(own)).rowcount))


def delete_unused(connection: Connection) -> None:
    """Delete acknowledgements and alerts of secrets that no finding of the store has."""
    secrets = select(t.finding.c.secret)
    for table in (t.acknowledgement, t.alert):
        connection.execute(delete(table).where(table.c.secret.not_in(secrets)))


def _holders() -> Select[Any]:
    """Select secrets with the repositories that hold them or held them."""
    return (
        select(t.finding.c.secret, t.repository.c.id, t.repository.c.host, t.repository.c.name)
        .join(t.image, t.image.c.id == t.finding.c.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .distinct()
    )


def _covered() -> Select[Any]:
    own = t.acknowledged_repository.c
    return select(own.secret, t.repository.c.id, t.repository.c.host, t.repository.c.name).join(
        t.repository, t.repository.c.id == own.repository
    )


def _by_secret(rows: Iterable[Any]) -> dict[str, set[Repository]]:
    found: dict[str, set[Repository]] = {}
    for secret, _, host, name in rows:
        found.setdefault(bytes(secret).hex(), set()).add((host, name))
    return found
