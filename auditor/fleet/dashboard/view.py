"""Data of the pages: query results joined by secret, layer and age, in a fixed order."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity, State
from auditor.core.owner_options import NO_OWNER
from auditor.findings.secret_groups import Verdict
from auditor.fleet.dashboard import charts
from auditor.fleet.dashboard.image_pages import ImagePages, pages_of_images
from auditor.fleet.dashboard.site_paths import secret_page
from auditor.fleet.remediation.open_secrets import OpenSecret, host_of, repository_of, secrets_of
from auditor.fleet.remediation.policy import AcknowledgementStatus, Policy
from auditor.fleet.remediation.trends import AGES, TrendPoint, age_name, open_secret_trend
from auditor.fleet.store import image_list, queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import (
    FindingRow,
    ImageRow,
    LeakingLayer,
    SweepRow,
    WithdrawnRow,
    audited_part,
    verdict_of,
)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class SecretLocation:
    """A finding of a secret, and the image that contains it."""

    finding: FindingRow
    image: ImageRow
    page: str

    @property
    def anchor(self) -> str:
        """Address of the finding on the page of the image."""
        return f"{self.page}#f-{self.finding.id}"


@dataclass(frozen=True, slots=True)
class SecretSummary:
    """A secret with all its locations. `tags` are `repository:tag`; `first_seen` is that of the oldest location.

    `owners` are the teams that own a repository with the secret.
    """

    secret_id: str
    page: str
    rule: str
    name: str
    masked: str
    severity: str
    states: tuple[str, ...]
    first_seen: str
    last_seen: str
    age_days: int
    due: datetime.date
    is_overdue: bool
    owners: tuple[str, ...]
    status: AcknowledgementStatus | None
    repositories: tuple[str, ...]
    tags: tuple[str, ...]
    images: tuple[ImageRow, ...]
    locations: tuple[SecretLocation, ...]

    @property
    def is_acknowledged(self) -> bool:
        """Whether an acknowledgement holds."""
        return self.status is not None and self.status.holds

    @property
    def work(self) -> str:
        """State of the work: acknowledged, overdue or open."""
        return "acknowledged" if self.is_acknowledged else "overdue" if self.is_overdue else "open"


@dataclass(frozen=True, slots=True)
class AgeGroup:
    """Number of findings in an interval of ages."""

    name: str
    by_severity: dict[str, int]

    @property
    def count(self) -> int:
        """Number of findings of all severities."""
        return sum(self.by_severity.values())


@dataclass(frozen=True, slots=True)
class SweepView:
    """A registry as a sweep saw it; `sweeps` are comparable ones, oldest first.

    `pages` are the first pages of the images by row id, `image_pages` all pages; deleted images have none. `teams` are
    the owners of repositories, those with gone findings alone included; `owner_numbers` and `repositories` are numbers
    for filters. `failed_owners` are those of the references that were not audited.
    """

    sweep: SweepRow
    sweeps: tuple[SweepRow, ...]
    images: tuple[ImageRow, ...]
    withdrawn: tuple[WithdrawnRow, ...]
    pages: dict[int, str]
    image_pages: dict[int, ImagePages]
    by_severity: dict[str, int]
    by_state: dict[str, int]
    secrets: tuple[SecretSummary, ...]
    layers: tuple[LeakingLayer, ...]
    new: tuple[FindingRow, ...]
    gone: tuple[FindingRow, ...]
    failed: tuple[tuple[str, str], ...]
    ages: tuple[AgeGroup, ...]
    repositories: dict[str, int]
    teams: dict[str, str | None]
    owner_numbers: dict[str, int]
    trend: tuple[TrendPoint, ...]
    failed_owners: frozenset[str]

    @property
    def has_owners(self) -> bool:
        """Whether a repository has an owner."""
        return bool(self.owner_numbers)

    def owners_of(self, repositories: Iterable[str]) -> list[str]:
        """Return the owners of repositories; NO_OWNER stands for those without one."""
        return sorted({self.teams[name] or NO_OWNER for name in repositories})

    @property
    def partial(self) -> tuple[ImageRow, ...]:
        """Images that can be pulled and were not read in full."""
        return tuple(image for image in self.pullable if image.skipped)

    def audited_part(self, owner: str | None = None) -> str:
        """Return the end of `No secrets found` for all repositories, or those of an owner: see `rows.audited_part`."""
        partial = any(owner in (None, self.teams[image.repository] or NO_OWNER) for image in self.partial)
        failed = bool(self.failed) if owner is None else owner in self.failed_owners
        return audited_part(partial=partial, failed=failed)

    @property
    def pullable(self) -> tuple[ImageRow, ...]:
        """Images with a page: those of the sweep, then withdrawn ones that are not deleted."""
        return (*self.images, *(row.image for row in self.withdrawn if not row.is_deleted))

    def link_to(self, row: FindingRow) -> str:
        """Return the address of a finding; an empty text if its image has no page."""
        own = self.image_pages.get(row.image)
        return f"{own.page_of.get(row.id, own.paths[0])}#f-{row.id}" if own else ""

    @property
    def verdict(self) -> Verdict:
        """Counts of all images."""
        return verdict_of(location.finding for secret in self.secrets for location in secret.locations)

    @property
    def secrets_by_severity(self) -> dict[str, int]:
        """Number of distinct secrets by severity."""
        return _counted(Severity, (secret.severity for secret in self.secrets))

    @property
    def findings(self) -> int:
        """Number of findings in all images."""
        return sum(self.by_severity.values())


def sweep_view(store: SweepStore, sweep: SweepRow, policy: Policy) -> SweepView:
    """Query all data of the site, as of one moment."""
    return store.read(lambda _: _view(store, sweep, policy))


def _view(store: SweepStore, sweep: SweepRow, policy: Policy) -> SweepView:
    images = image_list.images(store, sweep)
    withdrawn = image_list.withdrawn(store, sweep.id)
    pullable = [*images, *(row.image for row in withdrawn if not row.is_deleted)]
    findings = queries.findings(store, sweep.id)
    known = queries.first_seen(store, sweep.id)
    alike = tuple(queries.alike(store, sweep))
    host, failed = host_of(sweep), tuple(queries.failures(store, sweep.id))
    gone = _worst_first(queries.gone_findings(store, sweep.id))
    repositories = sorted({*(image.repository for image in pullable), *(row.repository for row in gone)})
    teams = {name: policy.owners.of(host, name) for name in repositories}
    secrets = secrets_of(findings, queries.first_sights(store, host), host, policy, policy.statuses(store))
    rows = {(row.image, row.id): row for row in findings}
    image_pages = pages_of_images([image for image in pullable if image.has_report], secrets)
    return SweepView(
        sweep=sweep,
        sweeps=alike,
        images=tuple(images),
        withdrawn=tuple(withdrawn),
        pages={image: own.paths[0] for image, own in image_pages.items()},
        image_pages=image_pages,
        by_severity=_counted(Severity, (row.severity for row in findings)),
        by_state=_counted(State, (row.state for row in findings)),
        secrets=_secrets(sweep, pullable, image_pages, secrets),
        layers=tuple(queries.leaking_layers(store, sweep.id, findings)),
        new=_worst_first(rows[row.image, row.id] for row in queries.new_findings(store, sweep.id)),
        gone=gone,
        failed=failed,
        ages=_ages(sweep, findings, known),
        repositories={name: number for number, name in enumerate(repositories)},
        teams=teams,
        owner_numbers=_owner_numbers(teams.values()),
        trend=open_secret_trend(
            store, alike[-charts.MOST_COLUMNS :], policy, teams if sweep.filter_text is not None else None
        ),
        failed_owners=frozenset(policy.owners.of(host, repository_of(name)) or NO_OWNER for name, _ in failed),
    )


def _owner_numbers(teams: Iterable[str | None]) -> dict[str, int]:
    """Number the owners of repositories by name, NO_OWNER last; without owners, return none."""
    own = set(teams)
    names = sorted(team for team in own if team)
    return {name: number for number, name in enumerate([*names, NO_OWNER] if None in own and names else names)}


def age_days(sweep: SweepRow, first_seen: str) -> int:
    """Return the age of a finding in whole days at the start of a sweep."""
    age = datetime.datetime.fromisoformat(sweep.started) - datetime.datetime.fromisoformat(first_seen)
    return max(age.days, 0)


def _secrets(
    sweep: SweepRow, images: Sequence[ImageRow], pages: dict[int, ImagePages], secrets: Iterable[OpenSecret]
) -> tuple[SecretSummary, ...]:
    by_number = {image.id: image for image in images}
    views = [_secret(sweep, by_number, pages, secret) for secret in secrets]
    return tuple(sorted(views, key=lambda v: (-Severity(v.severity).rank, -len(v.images), v.rule, v.secret_id)))


def _secret(
    sweep: SweepRow, by_number: dict[int, ImageRow], pages: dict[int, ImagePages], secret: OpenSecret
) -> SecretSummary:
    rows, worst = secret.findings, secret.worst
    in_order = sorted(rows, key=lambda row: (row.repository, row.digest))
    locations = [SecretLocation(row, by_number[row.image], pages[row.image].page_of[row.id]) for row in in_order]
    images = {location.image.id: location.image for location in locations}
    return SecretSummary(
        secret.secret_id,
        secret_page(secret.secret_id),
        worst.rule,
        worst.name,
        worst.masked,
        worst.severity,
        tuple(_counted(State, (row.state for row in rows))),
        secret.first_seen,
        max(row.last_seen for row in rows),
        age_days(sweep, secret.first_seen),
        secret.due,
        secret.is_overdue,
        secret.owners,
        secret.status,
        secret.repositories,
        tuple(sorted({f"{image.repository}:{tag}" for image in images.values() for tag in image.tags})),
        tuple(images.values()),
        tuple(locations),
    )


def _ages(sweep: SweepRow, findings: Iterable[FindingRow], known: dict[tuple[str, str], str]) -> tuple[AgeGroup, ...]:
    """Group findings by age: each counts once per repository, with its highest severity."""
    by_id = _grouped(findings, lambda row: (row.repository, row.id))
    ages: dict[str, list[str]] = {name: [] for _, name in AGES}
    for key, rows in by_id.items():
        age = age_days(sweep, known.get(key, rows[0].first_seen))
        ages[age_name(age)].append(max((row.severity for row in rows), key=lambda severity: Severity(severity).rank))
    return tuple(AgeGroup(name, _counted(Severity, severities)) for name, severities in ages.items())


def _worst_first(rows: Iterable[FindingRow]) -> tuple[FindingRow, ...]:
    return tuple(sorted(rows, key=lambda row: -Severity(row.severity).rank))


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _counted(kinds: Iterable[Severity] | Iterable[State], values: Iterable[str]) -> dict[str, int]:
    counts = Counter(values)
    return {kind.value: counts[kind.value] for kind in kinds if counts[kind.value]}
