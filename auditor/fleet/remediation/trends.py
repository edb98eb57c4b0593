"""Trend of open secrets by owner and age, computed from the first and last sight of findings.

The store keeps no counts for it: acknowledgements and owners are those of today, secrets that retention has deleted are
not in the trend of earlier sweeps, and a secret that was gone for some sweeps and returned counts in between.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from auditor.core.dataclass import dataclass
from auditor.core.owner_options import NO_OWNER
from auditor.fleet.remediation.open_secrets import host_of
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SecretInterval, SweepRow

AGES = ((1, "under a day"), (7, "under a week"), (30, "under 30 days"), (90, "under 90 days"), (365, "under a year"),
        (None, "over a year"))  # fmt: skip
"""Intervals of ages: number of days below which an age belongs to it, and its name."""


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """Open secrets of one sweep. A secret counts once for each owner, and once by age."""

    sweep: SweepRow
    by_owner: dict[str, int]
    by_age: dict[str, int]


def age_name(days: int) -> str:
    """Return the name of the interval of an age in days."""
    return next(name for limit, name in AGES if limit is None or days < limit)


def open_secret_trend(
    store: SweepStore, sweeps: Sequence[SweepRow], policy: Policy, repositories: Collection[str] | None = None
) -> tuple[TrendPoint, ...]:
    """Return the open secrets of comparable sweeps of a registry, by owner and age.

    `repositories` are those to count, by default all.
    """
    if not sweeps:
        return ()
    host = host_of(sweeps[-1])
    acknowledged = {secret for secret, status in policy.statuses(store).items() if status.holds}
    found: dict[str, dict[str, SecretInterval]] = {}
    for row in queries.secret_intervals(store, host, sweeps[-1].registry.partition("/")[2]):
        if row.secret not in acknowledged and (repositories is None or row.repository in repositories):
            own = found.setdefault(row.secret, {})
            owner = policy.owners.of(host, row.repository) or NO_OWNER
            own[owner] = _joined(own.get(owner, row), row)
    return tuple(_point(sweep, found.values()) for sweep in sweeps)


def _joined(one: SecretInterval, other: SecretInterval) -> SecretInterval:
    """Return the interval from the first sight of a secret in two repositories until it is gone from both."""
    ends = (one.absent_since, other.absent_since)
    first = min(one, other, key=lambda row: (row.since, row.first_seen))
    return replace(first, absent_since=None if None in ends else max(filter(None, ends)))


def _point(sweep: SweepRow, found: Iterable[Mapping[str, SecretInterval]]) -> TrendPoint:
    by_owner, by_age = Counter[str](), Counter[str]()
    day = datetime.date.fromisoformat(sweep.started[:10])
    for own in found:
        present = {
            owner: row.first_seen
            for owner, row in own.items()
            if row.since <= sweep.id and (row.absent_since is None or row.absent_since > sweep.id)
        }
        by_owner.update(present.keys())
        if present:
            first_day = datetime.date.fromisoformat(min(present.values())[:10])
            by_age[age_name((day - first_day).days)] += 1
    ages = {name: by_age[name] for _, name in AGES if by_age[name]}
    return TrendPoint(sweep, dict(sorted(by_owner.items())), ages)
