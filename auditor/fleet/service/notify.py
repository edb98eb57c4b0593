"""Notifications: the alerts of a sweep, to the receivers of --notify and of the owners in the config file.

A message contains no part of a secret. A receiver is told of a secret in a repository once: the store records the
alerts that it accepted, and one process at a time notifies it. Alerts that it did not accept are sent again after the
next sweep of any process.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError, LeaseHeld, LeaseLost, UsageError
from auditor.core.owner_options import OwnerOptions, TicketOptions
from auditor.core.text import plural, printable
from auditor.fleet.remediation.locations import short_id
from auditor.fleet.remediation.open_secrets import host_of, open_secrets
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.service.alerts import Alert, Event, Pending, pending_alerts
from auditor.fleet.service.messages import message
from auditor.fleet.service.receivers import Receiver, Refused, parse_receiver
from auditor.fleet.service.tickets import TicketSystem, ticket_system
from auditor.fleet.store import queries
from auditor.fleet.store.alerts import AlertKey, receiver_id, save_alerts
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lease import Lease, alerts_lease_name, hold_lease
from auditor.fleet.store.rows import SweepRow
from auditor.registry.retry import Clock, RetryBudget, RetryPolicy

_MAX_TICKETS = 20
"""Tickets of one receiver in one sweep, and refused ones; further ones follow after the next sweep."""

_WAIT_S = 300  # for another process that notifies the same receiver
_POLICY = RetryPolicy(tries=3, wait_s=60, total_s=120)
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """The requests to one receiver about a sweep, while this process holds the lease of its alerts."""

    store: SweepStore
    sweep: SweepRow
    receiver: bytes
    lease: Lease

    def failure(self, request: Callable[[], None]) -> AuditError | None:
        """Send a request with retries; return the error if it failed. Raises LeaseLost."""
        self.lease.check()
        try:
            RetryBudget(_POLICY, Clock(), threading.Event()).run(request)
        except AuditError as exc:
            return exc
        return None

    def save(self, accepted: Mapping[AlertKey, str], ended: Iterable[AlertKey]) -> None:
        """Record the alerts that the receiver accepted, and those that ended."""
        save_alerts(self.store, self.receiver, host_of(self.sweep), accepted, ended)


@dataclass(frozen=True, slots=True)
class _Subscription:
    """A receiver with its repositories: those to which the `globs` of owners apply, None for all.

    `key` identifies it in the store, and must not change between versions. Two with the same key have different globs.
    `deliver` sends alerts, records the accepted ones, and yields a line for each failure.
    """

    key: str
    name: str
    globs: frozenset[str] | None
    deliver: Callable[[_Delivery, Pending], Iterator[str]]


class Notifier:
    """Sends alerts to the receivers of --notify, which get all of them, and of the owners.

    Raises UsageError on an unknown form of URL, and on a `$NAME` that is not in `environment`. `sleep` waits some
    seconds for another process.
    """

    def __init__(
        self,
        urls: Sequence[str],
        owners: Mapping[str, OwnerOptions] | None = None,
        environment: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._subscriptions = [
            *_messages(urls, owners or {}, environment),
            *_tickets(owners or {}, environment),
        ]
        self._sleep = sleep

    def notify(self, store: SweepStore, sweep: SweepRow, policy: Policy) -> list[str]:
        """Send the alerts of a sweep, if any. Return a line for each receiver that failed."""
        if not self._subscriptions:
            return []
        secrets, tags, lines = open_secrets(store, sweep, policy), queries.tags_of(store, sweep.id), list[str]()
        for one in self._subscriptions:
            receiver = receiver_id(store, one.key)
            pending = partial(pending_alerts, store, sweep, secrets, policy, tags, receiver, one.globs)
            if not pending():
                continue
            lease = alerts_lease_name(receiver, host_of(sweep))
            try:
                with hold_lease(store, lease, one.name, wait_s=_WAIT_S, sleep=self._sleep) as held:
                    # Another process may have sent the same alerts before it gave the lease back.
                    lines += one.deliver(_Delivery(store, sweep, receiver, held), pending())
            except (LeaseHeld, LeaseLost):
                lines.append(f"{one.name}: another process sends alerts to it; the others follow after the next sweep")
        return lines


def _send(receiver: Receiver, teams: frozenset[str], delivery: _Delivery, pending: Pending) -> Iterator[str]:
    """Send the pending alerts as one message to the receiver of some teams."""
    if pending.alerts:
        text = message(delivery.sweep.registry, pending.alerts, teams)
        if delivery.failure(lambda: receiver.send(text)):  # its text may contain the URL
            count = plural(len(pending.alerts), "alert")
            yield f"{receiver.name}: did not accept the message with {count}; check the URL"
            return
    delivery.save({key: event for own in pending.accepted.values() for key, event in own.items()}, pending.ended)


def _create(system: TicketSystem, delivery: _Delivery, pending: Pending) -> Iterator[str]:
    """Create a ticket for each new secret, and record it at once. A refused ticket does not stop the others."""
    name, new = system.webhook.name, [alert for alert in pending.alerts if alert.event is Event.NEW]
    created, refused = list[Alert](), list[tuple[str, Alert]]()
    delivery.save({}, pending.ended)
    for alert in new:
        if _MAX_TICKETS in (len(created), len(refused)):
            break
        failure = delivery.failure(partial(_post, system, delivery.sweep.registry, alert))
        if failure is None:
            delivery.save(pending.accepted[alert.secret_id], ())
            created.append(alert)
        elif isinstance(failure, Refused | UsageError):
            refused.append((f"{name}: {failure}" if isinstance(failure, Refused) else str(failure), alert))
        else:
            yield from _refusals(refused)
            yield f"{name}: did not accept the ticket about secret {short_id(alert.secret_id)}; check the URL"
            return
    yield from _refusals(refused)
    if left := len(new) - len(created) - len(refused):
        yield f"{name}: {plural(left, 'more ticket')} after the next sweep"


def _post(system: TicketSystem, registry: str, alert: Alert) -> None:
    system.webhook.post(system.document(registry, alert))


def _refusals(refused: Sequence[tuple[str, Alert]]) -> Iterator[str]:
    """Yield a line for each reason for which tickets were refused."""
    for reason in dict.fromkeys(reason for reason, _ in refused):
        own = [alert for other, alert in refused if other == reason]
        yield (
            f"{reason}: {plural(len(own), 'ticket')} not created, the first about secret {short_id(own[0].secret_id)}. "
            "Check URL, token, project and template"
        )


def _messages(
    urls: Sequence[str], owners: Mapping[str, OwnerOptions], environment: Mapping[str, str]
) -> Iterator[_Subscription]:
    """Yield the receivers of messages; one that several owners name gets one message about all of them."""
    for number, url in enumerate(urls, 1):
        receiver = parse_receiver(url, f"--notify, URL {number}")
        yield _Subscription(url, receiver.name, None, partial(_send, receiver, frozenset()))
    names, globs = dict[str, str](), dict[str, set[str]]()
    for glob, owner in owners.items():
        for number, text in enumerate(owner.notify, 1):
            name = f"owners: {printable(owner.team)}, URL {number}"
            url = _expanded(text, name, environment)
            names.setdefault(url, name)
            globs.setdefault(url, set()).add(glob)
    for url, own in globs.items():
        if url not in urls:
            receiver, teams = parse_receiver(url, names[url]), frozenset(owners[glob].team for glob in own)
            yield _Subscription(url, receiver.name, frozenset(own), partial(_send, receiver, teams))


def _tickets(owners: Mapping[str, OwnerOptions], environment: Mapping[str, str]) -> Iterator[_Subscription]:
    """Yield the ticket systems, one for all globs of a team with the same settings."""
    globs: dict[tuple[str, TicketOptions], set[str]] = {}
    for glob, owner in owners.items():
        if owner.ticket is not None:
            globs.setdefault((owner.team, owner.ticket), set()).add(glob)
    for (team, own), of_team in globs.items():
        name = f"owners: {printable(team)}, ticket"
        url = _expanded(own.url, name, environment)
        token = None if own.token is None else _expanded(own.token, name, environment)
        system = ticket_system(own, url, token, team)
        yield _Subscription(f"{team}\0{url}", name, frozenset(of_team), partial(_create, system))


def _expanded(text: str, name: str, environment: Mapping[str, str]) -> str:
    """Return a text of the config file; `$NAME` stands for a variable of the environment."""
    if not (found := _VARIABLE.fullmatch(text)):
        return text
    if not (value := environment.get(found[1])):
        raise UsageError(f"{name}: the environment has no variable {found[1]}")
    return value
