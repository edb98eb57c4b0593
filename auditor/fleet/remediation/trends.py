"""Trend of open secrets by owner and age, computed from the first and last sight of findings.

The store keeps no counts for it: secrets that retention has deleted are not in the trend of earlier sweeps.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

from auditor.core.dataclass import dataclass
from auditor.core.owner_options import NO_OWNER
from auditor.fleet.remediation.open_secrets import host_of
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow

AGES = ((1, "under a day"), (7, "under a week"), (30, "under 30 days"), (90, "under 90 days"), (365, "under a year"),
        (None, "over a year"))  # fmt: skip
"""Intervals of ages: number of days below which an age belongs to it, and its name."""


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """Open secrets of one sweep. A secret counts once for each owner, and once by age, acknowledged or not."""

    sweep: SweepRow
    by_owner: dict[str, int]
    by_age: dict[str, int]


def age_name(days: int) -> str:
    """Return the name of the interval of an age in days."""
    return next(name for limit, name in AGES if limit is None or days < limit)


def open_secret_trend(store: SweepStore, sweeps: Sequence[SweepRow], policy: Policy) -> tuple[TrendPoint, ...]:
    """Return the open secrets of comparable sweeps of a registry, by owner and age."""
    if not sweeps:
        return ()
    host = host_of(sweeps[-1])
    found: dict[str, dict[str, tuple[str, int | None]]] = {}
    for row in queries.secret_intervals(store, host, sweeps[-1].registry.partition("/")[2]):
        owner = policy.owners.of(host, row.repository) or NO_OWNER
        own = found.setdefault(row.secret, {})
        first_seen, absent_since = own.get(owner, (row.first_seen, row.absent_since))
        last = None if absent_since is None or row.absent_since is None else max(absent_since, row.absent_since)
        own[owner] = (min(first_seen, row.first_seen), last)
    return tuple(_point(sweep, found) for sweep in sweeps)


def _point(sweep: SweepRow, found: dict[str, dict[str, tuple[str, int | None]]]) -> TrendPoint:
    by_owner, by_age = Counter[str](), Counter[str]()
    day = datetime.date.fromisoformat(sweep.started[:10])
    for own in found.values():
        present = {
            owner: first_seen
            for owner, (first_seen, absent_since) in own.items()
            if first_seen <= sweep.started and (absent_since is None or absent_since > sweep.id)
        }
        by_owner.update(present.keys())
        if present:
            first_day = datetime.date.fromisoformat(min(present.values())[:10])
            by_age[age_name((day - first_day).days)] += 1
    ages = {name: by_age[name] for _, name in AGES if by_age[name]}
    return TrendPoint(sweep, dict(sorted(by_owner.items())), ages)
