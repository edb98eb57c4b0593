"""A secret and its acknowledgement as JSON values: parts of the documents of sweeps, plans and locations."""

from __future__ import annotations

from typing import Any

from auditor.fleet.remediation.open_secrets import OpenSecret
from auditor.fleet.remediation.policy import AcknowledgementStatus


def secret_json(secret: OpenSecret) -> dict[str, Any]:
    """Return a secret as JSON values."""
    worst = secret.worst
    return {
        "secret_id": secret.secret_id,
        "rule": worst.rule,
        "name": worst.name,
        "secret": worst.masked,
        "severity": worst.severity,
        "owners": list(secret.owners),
        "repositories": list(secret.repositories),
        "first_seen": secret.first_seen,
        "due": secret.due.isoformat(),
        "overdue": secret.is_overdue,
        "acknowledged": None if secret.status is None else acknowledgement_json(secret.status),
    }


def acknowledgement_json(status: AcknowledgementStatus) -> dict[str, Any]:
    """Return an acknowledgement as JSON values."""
    own = status.acknowledgement
    until = None if own.until is None else own.until.isoformat()
    return {
        "reason": own.reason,
        "by": own.author,
        "created": own.created,
        "until": until,
        "holds": status.holds,
        "lapsed": status.lapsed,
    }
