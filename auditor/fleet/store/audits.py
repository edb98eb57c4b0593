"""Audits of images, written to the store: findings, masked reports, layers.

Each function is one transaction and may be repeated.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.core.finding import Finding
from auditor.core.text import printable
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert
from auditor.fleet.store.manifests import Leaf, batches, created_time, upsert_manifest
from auditor.fleet.store.presence import Sweep, upsert_present
from auditor.pipeline import Audit
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions
from auditor.scan import LayerRecord

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_LAYERS = select(t.layer.c.digest, t.layer.c.id).where(t.layer.c.digest.in_(bindparam("digests", expanding=True)))
_FINDINGS = select(t.finding.c.id, t.finding.c.finding).where(t.finding.c.image == bindparam("image"))
_DELETE_REPORT = delete(t.report).where(t.report.c.image == bindparam("own"))


def save_image(store: SweepStore, sweep: Sweep, repository: int, key: str, leaf: Descriptor, audit: Audit) -> None:
    """Store the findings and the report of an image with the manifest `leaf`, audited under `key`."""
    platform = audit.image.config.platform
    values = {"platform": None if platform is None else printable(str(platform))[:128], "audit_key": key}
    packed = _packed_report(audit, sweep.started)
    layers = [
        (own.digest or record.digest, record) for record, own in zip(audit.records, audit.image.layers, strict=True)
    ]
    itself = Leaf(replace(leaf, platform=platform))

    def work(connection: Connection) -> None:
        upsert_manifest(
            connection, leaf.digest, [itself], created_time(audit.image)
        )  # later tags and indexes may name it
        numbers = _layer_numbers(connection, layers)
        own = {**values, "layers": tuple(numbers[digest] for digest, _ in layers)}
        image = upsert_present(
            connection, sweep, t.image, {"repository": repository, "digest": audit.image.digest}, own
        )
        _save_report(connection, image, packed)
        _save_findings(connection, sweep, image, audit)

    store.write(work)


def save_audit_keys(store: SweepStore, repository: int, keys: Mapping[str, str]) -> None:
    """Set the audit keys of images of a repository, by digest."""

    def work(connection: Connection) -> None:
        for digest, key in keys.items():
            own = (t.image.c.repository == repository) & (t.image.c.digest == digest)
            connection.execute(update(t.image).where(own).values(audit_key=key))

    store.write(work)


def _layer_numbers(connection: Connection, layers: Sequence[tuple[Digest, LayerRecord]]) -> dict[Digest, int]:
    """Return the ids of layers; new ones are inserted."""
    wanted = dict(layers)
    known = {Digest(row.digest): row.id for row in connection.execute(_LAYERS, {"digests": list(wanted)})}
    new = [digest for digest in wanted if digest not in known]
    for digest in new:
        values = {"diff_id": wanted[digest].diff_id, "size": wanted[digest].size}
        upsert(connection, t.layer, {"digest": digest}, values)
    added = connection.execute(_LAYERS, {"digests": new}) if new else ()
    return known | {Digest(row.digest): row.id for row in added}


def _packed_report(audit: Audit, started: str) -> bytes | None:
    """Return the masked report of an image; None for a clean image of which everything was read."""
    if not (audit.findings or audit.skipped or audit.transient):
        return None
    masked = json.dumps(image_report(audit, RenderOptions(started)), separators=(",", ":"))
    return zlib.compress(masked.encode(), 6)


def _save_report(connection: Connection, image: int, packed: bytes | None) -> None:
    if packed is None:
        connection.execute(_DELETE_REPORT, {"own": image})
    else:
        upsert(connection, t.report, {"image": image}, {"data": packed})


def _save_findings(connection: Connection, sweep: Sweep, image: int, audit: Audit) -> None:
    """Update the findings of an image.

    A finding that this audit does not report, because of other rules or another baseline, is kept as not reported: the
    image has not changed. An audit with a transient failure removes nothing.
    """
    found = {finding.id for finding in audit.findings}
    rows = connection.execute(_FINDINGS, {"image": image})
    unreported = [row.id for row in rows if row.finding not in found and not audit.transient]
    for batch in batches(unreported):
        connection.execute(update(t.finding).where(t.finding.c.id.in_(batch)).values(reported=False))
    for finding in audit.findings:
        values = {**_finding_row(audit, finding), "reported": True}
        upsert_present(connection, sweep, t.finding, {"image": image, "finding": finding.id}, values)


def _finding_row(audit: Audit, finding: Finding) -> dict[str, Any]:
    layer = finding.held_by[0].layer if finding.held_by else None
    return {
        "rule": finding.rule,
        "name": finding.name,
        "severity": str(finding.severity),
        "confidence": str(finding.confidence),
        "state": str(finding.state),
        "path": None if finding.path is None else printable(finding.path),
        "metadata_location": None if finding.where is None else printable(finding.where),
        "line": finding.line,
        "masked": printable(finding.secret.masked),
        "secret": finding.secret.hmac,
        "layer": None if layer is None else audit.image.layers[layer].digest or audit.records[layer].digest,
        "added_in": finding.added_in,
        "hidden_in": finding.hidden_in,
    }
