"""Audits of images, written to the store: findings, masked reports, layers. All may be repeated."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from auditor.codec.descriptors import Descriptor
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.finding import Finding
from auditor.core.text import printable
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert
from auditor.fleet.store.manifests import Leaf, batches, created_time, upsert_manifest
from auditor.fleet.store.presence import Sweep, upsert_present
from auditor.pipeline import Audit
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_LAYERS = select(t.layer.c.digest, t.layer.c.id).where(t.layer.c.digest.in_(bindparam("digests", expanding=True)))
_FINDINGS = select(t.finding.c.id, t.finding.c.finding).where(t.finding.c.image == bindparam("image"))
_DELETE_REPORT = delete(t.report).where(t.report.c.image == bindparam("own"))


@dataclass(frozen=True, slots=True)
class ImageRows:
    """What the store keeps of an audit, of an image with the manifest `leaf`. An audit itself takes more memory."""

    key: dict[str, Any]
    values: dict[str, Any]
    leaf: Leaf
    created: str | None
    layers: tuple[tuple[Digest, DiffID, int], ...]
    """Digest, diff_id and size of each layer, lowest first."""
    report: bytes | None
    findings: dict[str, dict[str, Any]]
    transient: bool

    @classmethod
    def of(cls, audit: Audit, leaf: Descriptor, repository: int, audit_key: str, sweep: Sweep) -> ImageRows:
        """Return the rows of an audit under a key."""
        platform = audit.image.config.platform
        return cls(
            {"repository": repository, "digest": audit.image.digest},
            {"platform": None if platform is None else printable(str(platform))[:128], "audit_key": audit_key},
            Leaf(replace(leaf, platform=platform)),
            created_time(audit.image),
            tuple(
                (own.digest or record.digest, record.diff_id, record.size)
                for record, own in zip(audit.records, audit.image.layers, strict=True)
            ),
            _packed_report(audit, sweep.started),
            {finding.id: _finding_row(audit, finding) for finding in audit.findings},
            audit.transient,
        )

    def save(self, connection: Connection, sweep: Sweep) -> None:
        """Store the findings and the report of the image. May be repeated."""
        manifest = self.leaf.descriptor.digest
        upsert_manifest(connection, manifest, [self.leaf], self.created)  # later tags and indexes may name it
        numbers = _layer_numbers(connection, self.layers)
        values = {**self.values, "layers": tuple(numbers[digest] for digest, _, _ in self.layers)}
        image, is_new = upsert_present(connection, sweep, t.image, self.key, values)
        if self.report is not None:
            upsert(connection, t.report, {"image": image}, {"data": self.report})
        elif not is_new:
            connection.execute(_DELETE_REPORT, {"own": image})
        if not is_new:
            self._hide_findings(connection, image)
        for finding, row in self.findings.items():
            own = {"image": image, "finding": finding}
            upsert_present(connection, sweep, t.finding, own, {**row, "reported": True})

    def _hide_findings(self, connection: Connection, image: int) -> None:
        """Mark the findings that this audit does not report, because of other rules or another baseline.

        They are kept: the image has not changed. An audit with a transient failure hides nothing.
        """
        rows = connection.execute(_FINDINGS, {"image": image})
        unreported = [row.id for row in rows if row.finding not in self.findings and not self.transient]
        for batch in batches(unreported):
            connection.execute(update(t.finding).where(t.finding.c.id.in_(batch)).values(reported=False))


def save_audit_keys(store: SweepStore, repository: int, keys: Mapping[str, str]) -> None:
    """Set the audit keys of images of a repository, by digest."""

    def work(connection: Connection) -> None:
        for digest, key in keys.items():
            own = (t.image.c.repository == repository) & (t.image.c.digest == digest)
            connection.execute(update(t.image).where(own).values(audit_key=key))

    store.write(work)


def _layer_numbers(connection: Connection, layers: Sequence[tuple[Digest, DiffID, int]]) -> dict[Digest, int]:
    """Return the ids of layers by digest; new ones are inserted."""
    wanted = {digest: {"diff_id": diff_id, "size": size} for digest, diff_id, size in layers}
    known = {Digest(row.digest): row.id for row in connection.execute(_LAYERS, {"digests": list(wanted)})}
    new = [digest for digest in wanted if digest not in known]
    for digest in new:
        upsert(connection, t.layer, {"digest": digest}, wanted[digest])
    added = connection.execute(_LAYERS, {"digests": new}) if new else ()
    return known | {Digest(row.digest): row.id for row in added}


def _packed_report(audit: Audit, started: str) -> bytes | None:
    """Return the masked report of an image; None for a clean image of which everything was read."""
    if not (audit.findings or audit.skipped or audit.transient):
        return None
    masked = json.dumps(image_report(audit, RenderOptions(started)), separators=(",", ":"))
    return zlib.compress(masked.encode(), 6)


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
