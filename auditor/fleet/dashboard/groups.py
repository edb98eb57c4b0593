"""Repositories and owners of a sweep, with their secrets and the state of the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.owner_options import NO_OWNER
from auditor.fleet.dashboard.site_paths import owner_page, repository_page
from auditor.fleet.dashboard.view import SecretSummary, SweepView
from auditor.fleet.store.rows import ImageRow


@dataclass(frozen=True, slots=True)
class SecretCounts:
    """Number of distinct secrets by severity without acknowledged ones, of overdue and of acknowledged ones.

    `oldest_days` is the age of the oldest secret that is not acknowledged.
    """

    by_severity: dict[str, int]
    overdue: int
    acknowledged: int
    oldest_days: int

    @property
    def open(self) -> int:
        """Number of secrets without an acknowledgement."""
        return sum(self.by_severity.values())

    @property
    def rank(self) -> tuple[int, ...]:
        """Sort key, the worst first."""
        return (*(-self.by_severity.get(severity, 0) for severity in Severity), -self.overdue)


@dataclass(frozen=True, slots=True)
class RepositorySummary:
    """A repository with the images that can be pulled, its secrets, and the numbers of its new and gone findings."""

    name: str
    page: str
    owner: str | None
    images: tuple[ImageRow, ...]
    secrets: tuple[SecretSummary, ...]
    counts: SecretCounts
    new: int
    gone: int


@dataclass(frozen=True, slots=True)
class OwnerSummary:
    """A team, or the repositories without one, with its secrets."""

    name: str
    page: str
    repositories: int
    secrets: tuple[SecretSummary, ...]
    counts: SecretCounts


def repository_summaries(view: SweepView) -> tuple[RepositorySummary, ...]:
    """Return the repositories of a sweep, the worst first."""
    images: dict[str, list[ImageRow]] = {name: [] for name in view.repositories}
    for image in view.pullable:
        images[image.repository].append(image)
    new, gone = (Counter(row.repository for row in rows) for rows in (view.new, view.gone))
    secrets: dict[str, list[SecretSummary]] = {}
    for secret in view.secrets:
        for name in secret.repositories:
            secrets.setdefault(name, []).append(secret)
    summaries = [
        RepositorySummary(
            name,
            repository_page(name),
            view.teams[name],
            tuple(own),
            tuple(held := secrets.get(name, [])),
            secret_counts(held),
            new[name],
            gone[name],
        )
        for name, own in images.items()
    ]
    return tuple(sorted(summaries, key=lambda one: (one.counts.rank, one.name)))


def owner_summaries(view: SweepView) -> tuple[OwnerSummary, ...]:
    """Return the owners of a sweep, the worst first; repositories without one come last. Empty without owners."""
    if not view.has_owners:
        return ()
    repositories = Counter(team or NO_OWNER for team in view.teams.values())
    secrets: dict[str, list[SecretSummary]] = {}
    for secret in view.secrets:
        for name in view.owners_of(secret.repositories):
            secrets.setdefault(name, []).append(secret)
    summaries = [
        OwnerSummary(name, owner_page(name), count, tuple(own := secrets.get(name, [])), secret_counts(own))
        for name, count in repositories.items()
    ]
    return tuple(sorted(summaries, key=lambda one: (one.name == NO_OWNER, one.counts.rank, one.name)))


def secret_counts(secrets: Iterable[SecretSummary]) -> SecretCounts:
    """Count secrets by severity and state of the work."""
    own = list(secrets)
    to_do = [secret for secret in own if not secret.is_acknowledged]
    counts = Counter(secret.severity for secret in to_do)
    return SecretCounts(
        {severity.value: counts[severity] for severity in Severity if counts[severity]},
        sum(secret.is_overdue for secret in to_do),
        len(own) - len(to_do),
        max((secret.age_days for secret in to_do), default=0),
    )
