"""Notifications of --notify: the new secrets of a sweep, as one message to each receiver.

A message has the counts that reports show, and names severity, rule, state, image and location of each new secret. It
contains no part of the secret. A
message that a receiver did not accept is sent again after the next sweep of this process.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from auditor.core.errors import AuditError
from auditor.core.finding import Severity
from auditor.core.text import plural, printable, shortened
from auditor.findings.secret_groups import Verdict
from auditor.fleet.service.receivers import Receiver, parse_receiver
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import FindingRow, SweepRow
from auditor.registry.retry import Clock, RetryBudget, RetryPolicy

_MAX_LINES = 20
_MAX_LOCATION = 200
_POLICY = RetryPolicy(tries=3, wait_s=60, total_s=120)
# Paths come from images: they must not mention users, contain links, or format text in the chat that shows them.
_MARKUP = re.compile(r"[<>\[\](){}@|`*~#&\\]|(?<=:)/(?=/)")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """One new secret: where it was found first, and its number of images and places among the sweep's new findings."""

    severity: Severity
    rule: str
    state: str
    location: str
    image: str
    images: int
    places: int = 1
    is_recoverable: bool = False
    is_visible: bool = False

    def __str__(self) -> str:
        more = f" and {self.images - 1} more" if self.images > 1 else ""
        return f"{self.severity}: {self.rule} in {self.image}{more}, {self.location} ({self.state})"


class Notifier:
    """Sends notifications to all receivers. Raises UsageError on an unknown form of URL."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._queues = [_Queue(parse_receiver(url, number)) for number, url in enumerate(urls, 1)]

    def notify(self, store: SweepStore, sweep: SweepRow) -> list[str]:
        """Send the new secrets of a sweep, if any. Return a line for each receiver that failed."""
        if not self._queues:
            return []
        secrets = new_secrets(store, sweep.id)
        return [line for queue in self._queues if (line := queue.send(sweep.registry, secrets))]


def new_secrets(store: SweepStore, sweep: int) -> list[NewSecret]:
    """Return the new secrets of a sweep, most severe first."""
    found: dict[str, list[FindingRow]] = {}
    for row in queries.new_findings(store, sweep):
        found.setdefault(row.secret, []).append(row)
    for own in found.values():
        own.sort(key=lambda row: -Severity(row.severity).rank)
    tags = {image.id: image.tags for image in queries.images(store, sweep)} if found else {}
    secrets = [_new_secret(rows, tags.get(rows[0].image, ())) for rows in found.values()]
    return sorted(secrets, key=lambda secret: (-secret.severity.rank, secret.image, secret.location))


def message(registry: str, secrets: Sequence[NewSecret]) -> tuple[str, str]:
    """Return title and text of a message."""
    verdict = Verdict(
        secrets=len(secrets),
        places=sum(secret.places for secret in secrets),
        recoverable=sum(secret.is_recoverable for secret in secrets),
        visible=sum(secret.is_visible for secret in secrets),
        failing=0,
    )
    lines = [verdict.text, *(f"{secret}" for secret in secrets[:_MAX_LINES])]
    if len(secrets) > _MAX_LINES:
        lines.append(f"and {len(secrets) - _MAX_LINES} more")
    return f"image-audit: {plural(len(secrets), 'new secret')} in {_plain(registry)}", "\n".join(lines)


@dataclass(slots=True)
class _Queue:
    """A receiver, and the secrets that it has not accepted yet."""

    receiver: Receiver
    pending: list[NewSecret] = field(default_factory=list)

    def send(self, registry: str, secrets: Sequence[NewSecret]) -> str | None:
        """Send the pending and the new secrets, with retries. Return a line on a failure."""
        self.pending = [*self.pending, *(secret for secret in secrets if secret not in self.pending)]
        if not self.pending:
            return None
        title, text = message(registry, self.pending)
        budget = RetryBudget(_POLICY, Clock(), threading.Event())
        try:
            budget.run(lambda: self.receiver.send(title, text))
        except AuditError:  # its text may contain the URL
            count = plural(len(self.pending), "new secret")
            return f"{self.receiver.name}: did not accept the message about {count}; check the URL"
        self.pending = []
        return None


def _new_secret(rows: Sequence[FindingRow], tags: Sequence[str]) -> NewSecret:
    row = rows[0]
    image = f"{row.repository}:{tags[0]}" if tags else f"{row.repository} {row.digest[:19]}"
    location = row.path if row.path is not None else row.where or ""
    if row.line is not None:
        location += f":{row.line}"
    images = len({(other.repository, other.digest) for other in rows})
    return NewSecret(
        Severity(row.severity),
        _plain(row.rule),
        row.state,
        _plain(location),
        _plain(image),
        images,
        places=len(rows),
        is_recoverable=any(other.hidden_in is not None for other in rows),
        is_visible=any(other.hidden_in is None for other in rows),
    )


def _plain(text: str) -> str:
    return _MARKUP.sub("?", shortened(printable(text), _MAX_LOCATION))
