"""Alerts that receivers have accepted: each receiver is told of a secret in a repository once.

A row is deleted once the receiver was told that the secret is gone, so that a secret that returns is told again.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, select

from auditor.core.dataclass import dataclass
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert_all

OPEN, OVERDUE = "open", "overdue"
"""Events of schema/remediation.py."""


@dataclass(frozen=True, slots=True)
class AlertKey:
    """A secret, hexadecimal, in a repository of one registry."""

    secret: str
    repository: str


@dataclass(frozen=True, slots=True)
class GoneSecret:
    """A secret that no image of a repository holds any more: every digest that held it is deleted."""

    key: AlertKey
    rule: str
    severity: str


def receiver_id(store: SweepStore, url: str) -> bytes:
    """Return the identity of a receiver in the store, which does not reveal its URL."""
    return hmac.digest(store.key, b"receiver\0" + url.encode("utf-8", "surrogateescape"), "sha256")[:16]


def accepted_alerts(store: SweepStore, receiver: bytes, host: str) -> dict[AlertKey, str]:
    """Return the last event that a receiver accepted for each secret and repository of a registry."""
    query = (
        select(t.alert.c.secret, t.repository.c.name, t.alert.c.event)
        .join(t.repository, t.repository.c.id == t.alert.c.repository)
        .where(t.alert.c.receiver == receiver, t.repository.c.host == host)
    )
    rows = store.read(lambda c: c.execute(query).all())
    return {AlertKey(bytes(row.secret).hex(), row.name): row.event for row in rows}


def gone_secrets(store: SweepStore, receiver: bytes, host: str) -> list[GoneSecret]:
    """Return the accepted alerts whose secrets are gone, sorted.

    If retention has deleted all findings of a secret, it is unknown whether the secret is gone.
    """
    held = (
        select(t.finding.c.secret, t.image.c.repository, t.finding.c.absent_since)
        .join(t.image, t.image.c.id == t.finding.c.image)
        .subquery()
    )
    same = and_(held.c.secret == t.alert.c.secret, held.c.repository == t.alert.c.repository)
    query = (
        select(t.alert.c.secret, t.repository.c.name, t.finding.c.rule, t.finding.c.severity)
        .join(t.repository, t.repository.c.id == t.alert.c.repository)
        .join(t.finding, t.finding.c.secret == t.alert.c.secret)
        .join(t.image, and_(t.image.c.id == t.finding.c.image, t.image.c.repository == t.alert.c.repository))
        .where(
            t.alert.c.receiver == receiver,
            t.repository.c.host == host,
            ~exists().where(same, held.c.absent_since.is_(None)),
        )
        .order_by(t.repository.c.name, t.alert.c.secret, t.finding.c.id)
    )
    found: dict[AlertKey, GoneSecret] = {}
    for row in store.read(lambda c: c.execute(query).all()):
        key = AlertKey(bytes(row.secret).hex(), row.name)
        found.setdefault(key, GoneSecret(key, row.rule, row.severity))
    return list(found.values())


def save_alerts(
    store: SweepStore, receiver: bytes, host: str, accepted: Mapping[AlertKey, str], ended: Iterable[AlertKey]
) -> None:
    """Record the events that a receiver accepted, and delete those of secrets that are gone or acknowledged."""
    ended = tuple(ended)

    def work(connection: Connection) -> None:
        names = {key.repository for key in (*accepted, *ended)}
        known = connection.execute(select(t.repository.c.name, t.repository.c.id).where(t.repository.c.host == host))
        numbers = {row.name: row.id for row in known if row.name in names}
        for key in ended:
            own = _row(receiver, key, numbers).items()
            connection.execute(delete(t.alert).where(*(t.alert.c[name] == value for name, value in own)))
        rows = [
            {**_row(receiver, key, numbers), "event": event}
            for key, event in sorted(accepted.items(), key=lambda item: (item[0].secret, item[0].repository))
        ]
        upsert_all(connection, t.alert, ("receiver", "secret", "repository"), rows)

    if accepted or ended:
        store.write(work)


def _row(receiver: bytes, key: AlertKey, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return the primary key of an alert; `numbers` are rows of repositories by name."""
    return {"receiver": receiver, "secret": bytes.fromhex(key.secret), "repository": numbers[key.repository]}
