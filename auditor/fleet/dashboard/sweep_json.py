"""A sweep as JSON: the schema `image-audit-sweep/1`, described in docs/registry.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from auditor.findings.secret_groups import Verdict
from auditor.fleet.remediation.open_secrets import acknowledged_secrets
from auditor.fleet.remediation.plan_text import secret_json
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import ImageRow, SweepRow, WithdrawnRow, verdict_of

SCHEMA = "image-audit-sweep/1"


def sweep_document(
    store: SweepStore, sweep: SweepRow, page: Callable[[ImageRow], str | None], policy: Policy
) -> dict[str, Any]:
    """Return a sweep as JSON values; `page` returns the dashboard page of an image, None without a dashboard."""
    counts = sweep.counts
    unique, read = counts["layers_unique"], counts["layers_read"]
    return {
        "schema": SCHEMA,
        "registry": sweep.registry,
        "started": sweep.started,
        "finished": sweep.finished,
        "images": [_image(row, page(row)) for row in queries.images(store, sweep.id)],
        "verdict": _verdict(verdict_of(queries.findings(store, sweep.id))),
        "layers": {
            "unique": unique,
            "read": read,
            "cached": max(unique - read, 0),
            "bytes_read": counts["bytes_read"],
        },
        "shared_secrets": [
            {"secret_id": item.secret, "rule": item.rule, "images": list(item.images)}
            for item in queries.shared_secrets(store, sweep.id)
        ],
        "acknowledged": [
            secret_json(item) for item in acknowledged_secrets(store, sweep, policy) if item.is_acknowledged
        ],
        "withdrawn": [_withdrawn_image(row) for row in queries.withdrawn(store, sweep.id)],
        "failed": [
            {"reference": reference, "reason": reason} for reference, reason in queries.failures(store, sweep.id)
        ],
    }


def _verdict(counts: Verdict) -> dict[str, Any]:
    """Return the counts of all images; no severity is known from which a secret fails a run."""
    return {"leaks": counts.leaks, **{key: count for key, count in asdict(counts).items() if key != "failing"}}


def _image(row: ImageRow, page: str | None) -> dict[str, Any]:
    return {
        "repository": row.repository,
        "tags": list(row.tags),
        "digest": row.digest,
        "platform": row.platform,
        "by_severity": row.by_severity,
        "by_state": row.by_state,
        "new": row.new,
        "gone": row.gone,
        "report": page,
    }


def _withdrawn_image(row: WithdrawnRow) -> dict[str, Any]:
    return {
        "repository": row.image.repository,
        "digest": row.image.digest,
        "tags": list(row.tags),
        "pullable": row.pullable,
        "by_severity": row.image.by_severity,
    }
