"""Open secrets: the distinct secrets of a sweep that can be pulled, with owners, due date and acknowledgement."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.owner_options import NO_OWNER
from auditor.fleet.remediation.policy import AcknowledgementStatus, Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import FindingRow, SweepRow


@dataclass(frozen=True, slots=True)
class OpenSecret:
    """A secret with its findings, the most severe first. `first_seen` is its first sight in any image, RFC 3339.

    `owners` are the teams that own a repository with the secret. `is_overdue` is never set while an acknowledgement
    holds.
    """

    secret_id: str
    findings: tuple[FindingRow, ...]
    first_seen: str
    due: datetime.date
    is_overdue: bool
    owners: tuple[str, ...]
    status: AcknowledgementStatus | None

    @property
    def worst(self) -> FindingRow:
        """The most severe finding: its rule names the secret."""
        return self.findings[0]

    @property
    def is_acknowledged(self) -> bool:
        """Whether an acknowledgement holds."""
        return self.status is not None and self.status.holds

    @property
    def repositories(self) -> tuple[str, ...]:
        """Repositories with the secret, sorted."""
        return tuple(sorted({row.repository for row in self.findings}))


def host_of(sweep: SweepRow) -> str:
    """Return host and port of the registry of a sweep."""
    return sweep.registry.partition("/")[0]


def repository_of(reference: str) -> str:
    """Return the repository of `repository`, `repository:tag` or `repository@digest`."""
    return reference.partition("@")[0].partition(":")[0]


def open_secrets(store: SweepStore, sweep: SweepRow, policy: Policy) -> tuple[OpenSecret, ...]:
    """Return the secrets of a sweep, the most severe first, then the oldest."""
    host = host_of(sweep)
    rows, first_sights = store.read(lambda _: (queries.findings(store, sweep.id), queries.first_sights(store, host)))
    return secrets_of(rows, first_sights, host, policy, policy.statuses(store))


def secrets_of(
    rows: Iterable[FindingRow],
    first_sights: Mapping[str, str],
    host: str,
    policy: Policy,
    statuses: Mapping[str, AcknowledgementStatus],
) -> tuple[OpenSecret, ...]:
    """Return the secrets of findings, the most severe first, then the oldest; `first_sights` as `queries.first_sights`.

    A secret keeps its age when its findings move, to another path, image or repository.
    """
    secrets = [
        open_secret(secret, own, first_sights[secret], host, policy, statuses.get(secret))
        for secret, own in grouped(rows).items()
    ]
    return tuple(sorted(secrets, key=lambda one: (-Severity(one.worst.severity).rank, one.first_seen, one.secret_id)))


def acknowledged_secrets(store: SweepStore, sweep: SweepRow, policy: Policy) -> tuple[OpenSecret, ...]:
    """Return the secrets of a sweep with an acknowledgement, also with one that no longer holds.

    Without acknowledgements in the store, no finding is read.
    """
    if not policy.statuses(store):
        return ()
    return tuple(secret for secret in open_secrets(store, sweep, policy) if secret.status is not None)


def overdue_counts(store: SweepStore, sweep: SweepRow, policy: Policy) -> dict[tuple[str, Severity], int]:
    """Return the number of overdue secrets of a sweep by owner and severity, also where it is 0.

    A secret counts for each of its owners, and under NO_OWNER if it has none.
    """
    overdue = [secret for secret in open_secrets(store, sweep, policy) if secret.is_overdue]
    counts = Counter((owner, secret.worst.severity) for secret in overdue for owner in secret.owners or (NO_OWNER,))
    owners = (*policy.owners.teams, NO_OWNER)
    return {(owner, severity): counts[owner, severity.value] for owner in owners for severity in Severity}


def open_secret(
    secret: str,
    rows: Iterable[FindingRow],
    first_seen: str,
    host: str,
    policy: Policy,
    status: AcknowledgementStatus | None,
) -> OpenSecret:
    """Return a secret with these findings, and its first sight in any image."""
    findings = tuple(sorted(rows, key=lambda row: -Severity(row.severity).rank))
    due = policy.due(findings[0].severity, first_seen)
    acknowledged = status is not None and status.holds
    owners = policy.owners_of(host, {row.repository for row in findings})
    return OpenSecret(secret, findings, first_seen, due, due < policy.today and not acknowledged, owners, status)


def grouped(rows: Iterable[FindingRow]) -> dict[str, list[FindingRow]]:
    """Group findings by secret."""
    found: dict[str, list[FindingRow]] = {}
    for row in rows:
        found.setdefault(row.secret, []).append(row)
    return found
