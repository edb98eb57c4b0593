"""Policy of remediation: owners, due dates, and whether an acknowledgement holds."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.owner_options import DUE_DAYS
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.store.acknowledgements import Acknowledgement, acknowledgements
from auditor.fleet.store.database import SweepStore


@dataclass(frozen=True, slots=True)
class AcknowledgementStatus:
    """An acknowledgement, and why it no longer holds; `lapsed` is None while it holds."""

    acknowledgement: Acknowledgement
    lapsed: str | None

    @property
    def holds(self) -> bool:
        """Whether the secret does not count for --fail-on and alerts."""
        return self.lapsed is None


@dataclass(frozen=True, slots=True)
class Policy:
    """Owners and days until the due date, by severity, on the day `today` in UTC."""

    today: datetime.date
    owners: Owners = field(default_factory=lambda: Owners({}))
    due_days: Mapping[Severity, int] = field(default_factory=lambda: DUE_DAYS)

    def due(self, severity: str, first_seen: str) -> datetime.date:
        """Return the day until which a secret should be revoked; `first_seen` is RFC 3339."""
        return datetime.date.fromisoformat(first_seen[:10]) + datetime.timedelta(self.due_days[Severity(severity)])

    def owners_of(self, host: str, repositories: Iterable[str]) -> tuple[str, ...]:
        """Return the owners of repositories, sorted."""
        teams = {self.owners.of(host, name) for name in repositories}
        return tuple(sorted(team for team in teams if team is not None))

    def status(self, acknowledgement: Acknowledgement) -> AcknowledgementStatus:
        """Return whether an acknowledgement holds: until its last day, and for the owners that it covers."""
        until = acknowledgement.until
        if until is not None and until < self.today:
            return AcknowledgementStatus(acknowledgement, f"expired after {until}")
        covered = {self.owners.of(*repository) for repository in acknowledgement.covered}
        for host, name in sorted(acknowledgement.holders - acknowledgement.covered):
            if (team := self.owners.of(host, name)) not in covered:
                owner = f"owned by {team}" if team else "without an owner"
                return AcknowledgementStatus(acknowledgement, f"also found in {host}/{name}, {owner}")
        return AcknowledgementStatus(acknowledgement, None)

    def statuses(self, store: SweepStore) -> dict[str, AcknowledgementStatus]:
        """Return all acknowledgements of a store by secret, also those that no longer hold."""
        return {secret: self.status(one) for secret, one in acknowledgements(store).items()}
