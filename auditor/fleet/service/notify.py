"""Notifications: the alerts of a sweep, to the receivers of --notify and of the owners in the config file.

A message contains no part of a secret. A receiver is told of a secret in a repository once: the store records the
alerts that it accepted. Alerts that it did not accept are sent again after the next sweep of any process.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError, UsageError
from auditor.core.owner_options import OwnerOptions
from auditor.core.text import plural, printable
from auditor.fleet.remediation.open_secrets import host_of, open_secrets
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.service.alerts import Event, Pending, pending_alerts
from auditor.fleet.service.messages import message
from auditor.fleet.service.receivers import Receiver, parse_receiver
from auditor.fleet.service.tickets import TicketSystem, ticket_system
from auditor.fleet.store import queries
from auditor.fleet.store.alerts import receiver_id, save_alerts
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow
from auditor.registry.retry import Clock, RetryBudget, RetryPolicy

_MAX_TICKETS = 20
"""Tickets of one owner in one sweep; further ones follow after the next sweep."""

_POLICY = RetryPolicy(tries=3, wait_s=60, total_s=120)
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class _Subscription:
    """A receiver of messages, by its URL. `teams` are the owners that name it, None for those of --notify."""

    url: str
    receiver: Receiver
    teams: frozenset[str] | None


class Notifier:
    """Sends alerts to the receivers of --notify, which get all of them, and of the owners.

    Raises UsageError on an unknown form of URL, and on a `$NAME` that is not in `environment`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        owners: Mapping[str, OwnerOptions] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._messages = list(_subscriptions(urls, (owners or {}).values(), environment))
        self._tickets = dict(_ticket_systems((owners or {}).values(), environment))

    def notify(self, store: SweepStore, sweep: SweepRow, policy: Policy) -> list[str]:
        """Send the alerts of a sweep, if any. Return a line for each receiver that failed."""
        if not self._messages and not self._tickets:
            return []
        secrets, tags = open_secrets(store, sweep, policy), queries.tags_of(store, sweep.id)

        def pending(url: str, teams: frozenset[str] | None) -> tuple[bytes, Pending]:
            receiver = receiver_id(store, url)
            return receiver, pending_alerts(store, sweep, secrets, policy, tags, receiver, teams)

        lines = list[str | None]()
        for one in self._messages:
            lines.append(_send(store, sweep, one, *pending(one.url, one.teams)))
        for url, system in self._tickets.items():
            lines.append(_create(store, sweep, system, *pending(url, frozenset({system.team}))))
        return [line for line in lines if line]


def _send(
    store: SweepStore, sweep: SweepRow, subscription: _Subscription, receiver: bytes, pending: Pending
) -> str | None:
    """Send the pending alerts as one message, with retries. Return a line on a failure."""
    if pending.alerts:
        text = message(sweep.registry, pending.alerts, subscription.teams or ())
        if not _delivered(lambda: subscription.receiver.send(text)):
            name, count = subscription.receiver.name, plural(len(pending.alerts), "alert")
            return f"{name}: did not accept the message with {count}; check the URL"
    accepted = {key: event for own in pending.accepted.values() for key, event in own.items()}
    save_alerts(store, receiver, host_of(sweep), accepted, pending.ended)
    return None


def _create(store: SweepStore, sweep: SweepRow, system: TicketSystem, receiver: bytes, pending: Pending) -> str | None:
    """Create a ticket for each new secret, and record it at once. Return a line on a failure or a limit."""
    host = host_of(sweep)
    save_alerts(store, receiver, host, {}, pending.ended)
    new = [alert for alert in pending.alerts if alert.event is Event.NEW]
    for alert in new[:_MAX_TICKETS]:
        document = system.document(sweep.registry, alert)
        if not _delivered(lambda document=document: system.webhook.post(document)):  # type: ignore[misc]
            return f"{system.webhook.name}: did not accept the ticket about secret {alert.secret_id}; check the URL"
        save_alerts(store, receiver, host, pending.accepted[alert.secret_id], ())
    left = len(new) - _MAX_TICKETS
    return f"{system.webhook.name}: {plural(left, 'more ticket')} after the next sweep" if left > 0 else None


def _delivered(deliver: Callable[[], None]) -> bool:
    """Deliver with retries; return whether the receiver accepted it."""
    budget = RetryBudget(_POLICY, Clock(), threading.Event())
    try:
        budget.run(deliver)
    except AuditError:  # its text may contain the URL
        return False
    return True


def _subscriptions(
    urls: Sequence[str], owners: Iterable[OwnerOptions], environment: Mapping[str, str]
) -> Iterator[_Subscription]:
    """Yield the receivers; one that several owners name gets one message about all of them."""
    for number, url in enumerate(urls, 1):
        yield _Subscription(url, parse_receiver(url, f"--notify, URL {number}"), None)
    teams: dict[str, set[str]] = {}
    names: dict[str, str] = {}
    for owner in owners:
        for number, text in enumerate(owner.notify, 1):
            name = f"owners: {printable(owner.team)}, URL {number}"
            url = _expanded(text, name, environment)
            teams.setdefault(url, set()).add(owner.team)
            names.setdefault(url, name)
    for url, own in teams.items():
        if url not in urls:
            yield _Subscription(url, parse_receiver(url, names[url]), frozenset(own))


def _ticket_systems(
    owners: Iterable[OwnerOptions], environment: Mapping[str, str]
) -> Iterator[tuple[str, TicketSystem]]:
    """Yield the ticket systems, each with a key that differs for teams with the same URL."""
    for owner in owners:
        if (own := owner.ticket) is not None:
            name = f"owners: {printable(owner.team)}, ticket"
            url = _expanded(own.url, name, environment)
            token = None if own.token is None else _expanded(own.token, name, environment)
            yield f"{owner.team}\0{url}", ticket_system(own, url, token, owner.team)


def _expanded(text: str, name: str, environment: Mapping[str, str]) -> str:
    """Return a text of the config file; `$NAME` stands for a variable of the environment."""
    if not (found := _VARIABLE.fullmatch(text)):
        return text
    if not (value := environment.get(found[1])):
        raise UsageError(f"{name}: the environment has no variable {found[1]}")
    return value
