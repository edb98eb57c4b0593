"""Ledger: writes of a running sweep to the store. Each function is one transaction and may be repeated."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.core.finding import Finding
from auditor.core.text import printable
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, update_statistics, upsert
from auditor.fleet.store.manifests import Leaf, batches, created_time, upsert_manifest
from auditor.fleet.store.observations import delete_unseen, extend_last_seen
from auditor.fleet.store.presence import Sweep, upsert_present
from auditor.pipeline import Audit
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions
from auditor.scan import LayerRecord

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_LAYERS = select(t.layer.c.digest, t.layer.c.id).where(t.layer.c.digest.in_(bindparam("digests", expanding=True)))
_FINDINGS = select(t.finding.c.id, t.finding.c.finding).where(t.finding.c.image == bindparam("image"))
_DELETE_REPORT = delete(t.report).where(t.report.c.image == bindparam("own"))


def begin_sweep(
    store: SweepStore, registry: str, scope: str, ruleset: str, now: str, filter_text: str | None = None
) -> Sweep:
    """Begin a sweep, or continue a killed one of the same scope.

    `filter_text` are the options that exclude a part of the registry.
    """

    def work(connection: Connection) -> Sweep:
        unfinished = connection.execute(
            select(t.sweep.c.id, t.sweep.c.registry, t.sweep.c.scope, t.sweep.c.started)
            .where(t.sweep.c.finished.is_(None))
            .order_by(t.sweep.c.id.desc())
        ).all()
        own = next((row for row in unfinished if (row.registry, row.scope) == (registry, scope)), None)
        if own is not None:
            connection.execute(delete(t.failure).where(t.failure.c.sweep == own.id))
            number, started = own.id, own.started
        else:
            values = {
                "registry": registry,
                "scope": scope,
                "filter_text": filter_text,
                "ruleset": ruleset,
                "started": now,
            }
            row = connection.execute(insert(t.sweep).values(**values))
            number, started = int(row.inserted_primary_key[0]), now  # type: ignore[index]
        adopted = tuple(row.id for row in unfinished if row.id < number)
        return Sweep(number, registry, started, adopted, resumed=own is not None)

    return store.write(work)


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


def save_download(store: SweepStore, sweep: Sweep, digest: str, diff_id: str, size: int) -> None:
    """Record the download of a layer."""
    values = {"diff_id": diff_id, "size": size, "read_in": sweep.id}
    store.write(lambda c: upsert(c, t.layer, {"digest": digest}, values))


def was_downloaded(store: SweepStore, sweep: Sweep, digest: str) -> bool:
    """Whether this sweep downloaded a layer, perhaps before it was killed."""
    query = select(t.layer.c.digest).where(t.layer.c.digest == digest, t.layer.c.read_in == sweep.id)
    return store.read(lambda c: c.execute(query).first()) is not None


def save_failures(store: SweepStore, sweep: Sweep, failures: Iterable[tuple[str, str]]) -> None:
    """Store the references that were not audited, with reasons."""

    def work(connection: Connection) -> None:
        for reference, reason in failures:
            upsert(
                connection,
                t.failure,
                {"sweep": sweep.id, "reference": printable(reference)[:512]},
                {"reason": printable(reason)},
            )

    store.write(work)


def finish_sweep(store: SweepStore, sweep: Sweep, now: str, counts: Mapping[str, int]) -> None:
    """End a sweep with its `counts`, the columns of `sweep`; delete the observations of earlier sweeps of its kind."""

    def work(connection: Connection) -> None:
        connection.execute(update(t.sweep).where(t.sweep.c.id == sweep.id).values(finished=now, **counts))
        own = select(t.sweep.c.registry, t.sweep.c.scope).where(t.sweep.c.id == sweep.id).subquery()
        same = select(t.sweep.c.id).join(own, (t.sweep.c.registry == own.c.registry) & (t.sweep.c.scope == own.c.scope))
        before = list(connection.execute(same.where(t.sweep.c.id < sweep.id)).scalars())
        extend_last_seen(connection, before)
        for seen in (t.seen, t.withdrawn):
            connection.execute(delete(seen).where(seen.c.sweep.in_(before)))
        delete_unseen(connection)
        if not before:
            update_statistics(connection)

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
