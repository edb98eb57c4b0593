"""A store that a test may change, with owners: the copy of the story that the fixture `changed` makes."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow


@dataclass(frozen=True)
class Story:
    """The store, its last sweep, and the policy with owners."""

    store: SweepStore
    sweep: SweepRow
    policy: Policy

    @property
    def shared(self) -> str:
        """The id of the secret that six images of two owners hold."""
        return queries.shared_secrets(queries.findings(self.store, self.sweep.id))[0].secret
