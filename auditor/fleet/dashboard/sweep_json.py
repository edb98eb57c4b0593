"""A sweep as JSON: the schema `image-audit-sweep/1`, described in docs/registry.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from auditor.findings.secret_groups import Verdict
from auditor.fleet.remediation.json_text import document_text
from auditor.fleet.remediation.open_secrets import acknowledged_secrets
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.remediation.secret_json import secret_json
from auditor.fleet.store import image_list, queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import ImageRow, SweepRow, WithdrawnRow, verdict_of

SCHEMA = "image-audit-sweep/1"


def sweep_document(
    store: SweepStore, sweep: SweepRow, page: Callable[[ImageRow], str | None], policy: Policy
) -> dict[str, Any]:
    """Return a sweep as JSON values; `page` returns the dashboard page of an image, None without a dashboard."""
    members = _members(store, sweep, page, policy)
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in members}


def sweep_text(
    store: SweepStore, sweep: SweepRow, page: Callable[[ImageRow], str | None], policy: Policy
) -> Iterator[str]:
    """Yield the text of `sweep_document`, in parts: its images are not in memory all at once."""
    return document_text(_members(store, sweep, page, policy))


def _members(
    store: SweepStore, sweep: SweepRow, page: Callable[[ImageRow], str | None], policy: Policy
) -> Iterator[tuple[str, Any]]:
    """Yield the members of the document, the images as an iterator."""
    yield "schema", SCHEMA
    yield "registry", sweep.registry
    yield "started", sweep.started
    yield "finished", sweep.finished
    yield (
        "images",
        (_image(row, page(row) if row.has_report else None) for row in image_list.each_image(store, sweep)),
    )
    yield from store.read(lambda _: list(_secret_members(store, sweep, policy)))


def _secret_members(store: SweepStore, sweep: SweepRow, policy: Policy) -> Iterator[tuple[str, Any]]:
    counts = sweep.counts
    unique, read = counts["layers_unique"], counts["layers_read"]
    findings = queries.findings(store, sweep.id)
    yield "verdict", _verdict(verdict_of(findings))
    layers = {"unique": unique, "read": read, "cached": max(unique - read, 0), "bytes_read": counts["bytes_read"]}
    yield "layers", layers
    shared = queries.shared_secrets(findings)
    yield "shared_secrets", [{"secret_id": one.secret, "rule": one.rule, "images": list(one.images)} for one in shared]
    acknowledged = acknowledged_secrets(store, sweep, policy)
    yield "acknowledged", [secret_json(one) for one in acknowledged if one.is_acknowledged]
    yield "withdrawn", [_withdrawn_image(row) for row in image_list.withdrawn(store, sweep.id)]
    yield "attached", sweep.counts["attached"]
    failed = queries.failures(store, sweep.id)
    yield "failed", [{"reference": reference, "reason": reason} for reference, reason in failed]


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
        "skipped": row.skipped,
        "report": page,
    }


def _withdrawn_image(row: WithdrawnRow) -> dict[str, Any]:
    return {
        "repository": row.image.repository,
        "digest": row.image.digest,
        "tags": list(row.tags),
        "pullable": row.pullable,
        "by_severity": row.image.by_severity,
        "skipped": row.image.skipped,
    }
