"""Audits of images, written to the store: findings, masked reports, layers. All may be repeated."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from auditor.codec.descriptors import Descriptor
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.finding import Finding
from auditor.core.text import printable
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert_all
from auditor.fleet.store.manifests import Leaf, Manifest, batches, created_time, upsert_manifests
from auditor.fleet.store.presence import Sweep, mark_present, new_interval
from auditor.pipeline import Audit
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_LAYERS = select(t.layer.c.digest, t.layer.c.id).where(t.layer.c.digest.in_(bindparam("digests", expanding=True)))
_IMAGES = select(t.image.c.id, t.image.c.repository, t.image.c.digest).where(
    t.image.c.repository.in_(bindparam("repositories", expanding=True)),
    t.image.c.digest.in_(bindparam("digests", expanding=True)),
)
_FINDINGS = select(t.finding.c.id, t.finding.c.image, t.finding.c.finding).where(
    t.finding.c.image.in_(bindparam("images", expanding=True))
)
_DELETE_REPORTS = delete(t.report).where(t.report.c.image.in_(bindparam("images", expanding=True)))
_UPDATE_IMAGE = update(t.image).where(t.image.c.id == bindparam("own"))
_UPDATE_FINDING = update(t.finding).where(t.finding.c.id == bindparam("own"))


@dataclass(frozen=True, slots=True)
class ImageRows:
    """What the store keeps of an audit, of an image with the manifest `leaf`. An audit itself takes more memory."""

    repository: int
    digest: Digest
    values: dict[str, Any]
    leaf: Leaf
    created: str | None
    layers: tuple[tuple[Digest, DiffID, int], ...]
    """Digest, diff_id and size of each layer, lowest first."""
    report: bytes | None
    findings: dict[str, dict[str, Any]]
    """Rows by the id in the report."""
    transient: bool

    @property
    def key(self) -> tuple[int, str]:
        """Repository and digest."""
        return self.repository, self.digest

    @classmethod
    def of(cls, audit: Audit, leaf: Descriptor, repository: int, audit_key: str, sweep: Sweep) -> ImageRows:
        """Return the rows of an audit under a key."""
        platform = audit.image.config.platform
        return cls(
            repository,
            leaf.digest,
            {
                "platform": None if platform is None else printable(str(platform))[:128],
                "audit_key": audit_key,
                "skipped": len(audit.skipped),
            },
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


def save_images(connection: Connection, sweep: Sweep, images: Sequence[ImageRows]) -> None:
    """Store findings and reports of images, each of another key. May be repeated."""
    # Later tags and indexes may name the manifests.
    upsert_manifests(
        connection, [Manifest(image.leaf.descriptor.digest, (image.leaf,), image.created) for image in images]
    )
    known = _save_rows(connection, sweep, images)
    numbers = known | _numbers(connection, [image for image in images if image.key not in known])
    reports = [{"image": numbers[image.key], "data": image.report} for image in images if image.report is not None]
    upsert_all(connection, t.report, ("image",), reports)
    _save_findings(connection, sweep, {numbers[image.key]: image for image in images}, known.values())


def _save_rows(connection: Connection, sweep: Sweep, images: Sequence[ImageRows]) -> dict[tuple[int, str], int]:
    """Insert or update the rows of images; return the ids of those that were stored before, by key."""
    layers = _layer_numbers(connection, [layer for image in images for layer in image.layers])
    known = _numbers(connection, images)
    new, stored = list[dict[str, Any]](), list[dict[str, Any]]()
    for image in images:
        values = {**image.values, "layers": tuple(layers[digest] for digest, _, _ in image.layers)}
        if image.key in known:
            stored.append({"own": known[image.key], **values})
        else:
            new.append({"repository": image.repository, "digest": image.digest, **values, **new_interval(sweep)})
    if new:
        connection.execute(insert(t.image), new)
    if stored:
        connection.execute(_UPDATE_IMAGE, stored)
        mark_present(connection, sweep, t.image.c.id, [*known.values()])
        without = [known[image.key] for image in images if image.key in known and image.report is None]
        connection.execute(_DELETE_REPORTS, {"images": without})
    return known


def _numbers(connection: Connection, images: Sequence[ImageRows]) -> dict[tuple[int, str], int]:
    """Return the ids of the images that are stored, by key."""
    keys = {image.key for image in images}
    repositories = sorted({repository for repository, _ in keys})
    found = dict[tuple[int, str], int]()
    for batch in batches(sorted({digest for _, digest in keys})):
        rows = connection.execute(_IMAGES, {"repositories": repositories, "digests": batch})
        found |= {key: row.id for row in rows if (key := (row.repository, row.digest)) in keys}
    return found


def _save_findings(
    connection: Connection, sweep: Sweep, images: Mapping[int, ImageRows], stored: Collection[int]
) -> None:
    """Update the findings of images, by id; `stored` are the ids of those that were stored before.

    A finding that an audit does not report, because of other rules or another baseline, is kept as not reported: the
    image has not changed. An audit with a transient failure removes nothing.
    """
    known = dict[tuple[int, str], int]()
    for batch in batches(sorted(stored)):
        known |= {(row.image, row.finding): row.id for row in connection.execute(_FINDINGS, {"images": batch})}
    new, changed = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, image in images.items():
        for finding, row in image.findings.items():
            if (number, finding) in known:
                changed.append({"own": known[number, finding], "reported": True, **row})
            else:
                own = {"image": number, "finding": finding, "reported": True}
                new.append({**own, **row, **new_interval(sweep)})
    unreported = [
        row
        for (number, finding), row in known.items()
        if finding not in images[number].findings and not images[number].transient
    ]
    for batch in batches(unreported):
        connection.execute(update(t.finding).where(t.finding.c.id.in_(batch)).values(reported=False))
    if changed:
        connection.execute(_UPDATE_FINDING, changed)
        mark_present(connection, sweep, t.finding.c.id, [row["own"] for row in changed])
    if new:
        connection.execute(insert(t.finding), new)


def save_audit_keys(store: SweepStore, repository: int, keys: Mapping[str, str]) -> None:
    """Set the audit keys of images of a repository, by digest."""

    def work(connection: Connection) -> None:
        for digest, key in keys.items():
            own = (t.image.c.repository == repository) & (t.image.c.digest == digest)
            connection.execute(update(t.image).where(own).values(audit_key=key))

    store.write(work)


def _layer_numbers(connection: Connection, layers: Sequence[tuple[Digest, DiffID, int]]) -> dict[Digest, int]:
    """Return the ids of layers by digest; new ones are inserted."""
    wanted = {digest: {"digest": digest, "diff_id": diff_id, "size": size} for digest, diff_id, size in layers}
    found = dict[Digest, int]()
    for batch in batches(sorted(wanted)):
        found |= {Digest(row.digest): row.id for row in connection.execute(_LAYERS, {"digests": batch})}
        new = [digest for digest in batch if digest not in found]
        if new:
            upsert_all(connection, t.layer, ("digest",), [wanted[digest] for digest in new])
            found |= {Digest(row.digest): row.id for row in connection.execute(_LAYERS, {"digests": new})}
    return found


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
