"""A receiver in the store alone: it accepts all alerts at once."""

from __future__ import annotations

from collections.abc import Collection

from auditor.fleet.remediation.open_secrets import host_of, open_secrets
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.service.alerts import Alert, pending_alerts
from auditor.fleet.store import queries
from auditor.fleet.store.alerts import save_alerts
from auditor.fleet.store.database import SweepStore
from tests.fleet.stored import POLICY


def told_alerts(
    store: SweepStore, policy: Policy = POLICY, globs: Collection[str] | None = None, receiver: bytes = bytes(16)
) -> tuple[Alert, ...]:
    """Return the alerts of the last sweep for the receiver, which knows them from now on."""
    sweep = queries.sweeps(store)[-1]
    secrets, tags = open_secrets(store, sweep, policy), queries.tags_of(store, sweep.id)
    pending = pending_alerts(store, sweep, secrets, policy, tags, receiver, globs)
    accepted = {key: event for own in pending.accepted.values() for key, event in own.items()}
    save_alerts(store, receiver, host_of(sweep), accepted, pending.ended)
    return pending.alerts
