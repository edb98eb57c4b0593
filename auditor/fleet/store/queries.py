"""Queries: everything that is displayed of a sweep comes from here, in a fixed order.

    sweeps(store, registry)             finished sweeps, oldest first
    last_sweep(store, registry)         newest finished sweep, preferably one without a filter
    alike(store, sweep)                 comparable sweeps, for trends
    images(store, sweep)                images with tags, counts by severity and state, new and gone findings
    withdrawn(store, sweep)             images without a tag, and whether they can be pulled
    findings(store, sweep)              findings of both, except deleted images; with first and last seen
    new_findings, gone_findings         one row for each repository and finding id
    shared_secrets(store, sweep)        secrets in more than one image
    leaking_layers(store, sweep)        layers that added secrets, with the tags and images that contain them
    first_seen(store, sweep)            when each finding of a repository was first seen, in any image
    tags_of(store, sweep)               tags of each image
    secret_intervals(store, …)          when each secret was in each repository
    failures(store, sweep)              references that were not audited
    report(store, image)                masked JSON report of an image

A finding is new if no image of its repository had it before. A finding is gone if an image that had it is deleted, and
no other image of the repository has it. The images of a tag are those of all platforms. Images and findings are
available for the newest sweep of each kind (same registry, same options), counts for all sweeps.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Select, and_, case, func, select

from auditor.core.finding import Severity, State
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import (
    FindingRow,
    ImageRow,
    LeakingLayer,
    SecretInterval,
    SharedSecret,
    SweepRow,
    WithdrawnRow,
    finding_row,
    sweep_row,
)
from auditor.fleet.store.statements import (
    deleted_with_image,
    findings_where,
    ids_after,
    ids_before,
    images_of,
    pullable_findings,
    repositories_of,
    seen_images,
    seen_tags,
    withdrawn_images,
)


def sweeps(store: SweepStore, registry: str | None = None) -> list[SweepRow]:
    """Return the finished sweeps, oldest first; of all registries if `registry` is None."""
    query = select(t.sweep).where(t.sweep.c.finished.is_not(None)).order_by(t.sweep.c.id)
    if registry is not None:
        query = query.where(t.sweep.c.registry == registry)
    return [sweep_row(row) for row in _all(store, query)]


def last_sweep(store: SweepStore, registry: str | None = None) -> SweepRow | None:
    """Return the newest finished sweep without a filter; without one, the newest finished sweep."""
    found = sweeps(store, registry)
    return max(found, key=lambda row: (row.filter_text is None, row.id), default=None)


def alike(store: SweepStore, sweep: SweepRow) -> list[SweepRow]:
    """Return the sweeps of the same registry with the same filter, up to this one, oldest first."""
    return [row for row in sweeps(store, sweep.registry) if row.filter_text == sweep.filter_text and row.id <= sweep.id]


def images(store: SweepStore, sweep: int) -> list[ImageRow]:
    """Return the images of a sweep."""
    tags = tags_of(store, sweep)
    by_image = _by_image(findings(store, sweep))
    new, gone = new_findings(store, sweep), gone_findings(store, sweep)
    fresh = {(row.repository, row.id) for row in new}
    gone_by_tag = _gone_by_tag(store, sweep, {(row.repository, row.id) for row in gone})
    seen = []
    for row in _all(store, seen_images(sweep)):
        own, names = by_image.get(row.id, []), tags.get(row.id, ())
        gone_ids = set().union(*(gone_by_tag.get((row.repository, tag, row.platform), ()) for tag in names))
        seen.append(_image(row, names, own, sum((one.repository, one.id) in fresh for one in own), len(gone_ids)))
    return sorted(seen, key=lambda image: (image.repository, image.tags, image.platform or "", image.digest))


def withdrawn(store: SweepStore, sweep: int) -> list[WithdrawnRow]:
    """Return the images without a tag, those that can be pulled first."""
    rows = _all(store, withdrawn_images(sweep))
    own = select(t.withdrawn.c.image).where(t.withdrawn.c.sweep == sweep)
    by_image = (
        _by_image(_findings(store, and_(t.finding.c.image.in_(own), t.finding.c.reported.is_(True)))) if rows else {}
    )
    found = [
        WithdrawnRow(_image(row, (), by_image.get(row.id, []), 0, 0), tuple(json.loads(row.tags)), row.pullable)
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.is_deleted, one.image.repository, one.tags, one.image.digest))


def findings(store: SweepStore, sweep: int) -> list[FindingRow]:
    """Return the findings that can be pulled: of the images of a sweep, and of withdrawn ones that are not deleted.

    The most severe ones of an image come first.
    """
    return _findings(store, pullable_findings(sweep))


def severities(store: SweepStore, sweep: int, without: Collection[str] = ()) -> dict[str, int]:
    """Return the number of findings that can be pulled, by severity, except those of the secrets `without`."""
    severity = t.finding.c.severity
    secrets = [bytes.fromhex(secret) for secret in without]
    query = (
        select(severity, func.count().label("count"))
        .where(pullable_findings(sweep), t.finding.c.secret.not_in(secrets))
        .group_by(severity)
    )
    return {row[0]: int(row[1]) for row in _all(store, query)}


def new_findings(store: SweepStore, sweep: int) -> list[FindingRow]:
    """Return the findings that are new in their repository: one row for each id."""
    before = {(row.name, row.finding) for row in _all(store, ids_before(sweep))}
    rows = _findings(store, and_(pullable_findings(sweep), t.finding.c.present_since == sweep))
    return _each_once(row for row in rows if (row.repository, row.id) not in before)


def gone_findings(store: SweepStore, sweep: int) -> list[FindingRow]:
    """Return the findings that are gone from their repository: one row for each id."""
    rows = _findings(store, deleted_with_image(sweep))
    still_present = {(row.name, row.finding) for row in _all(store, ids_after(sweep))} if rows else set()
    return _each_once(row for row in rows if (row.repository, row.id) not in still_present)


def shared_secrets(store: SweepStore, sweep: int) -> list[SharedSecret]:
    """Return the secrets in more than one image, those in most images first."""
    found: dict[str, list[FindingRow]] = {}
    for row in findings(store, sweep):
        found.setdefault(row.secret, []).append(row)
    shared = [
        SharedSecret(
            secret,
            rows[0].rule,
            rows[0].masked,
            _worst(rows),
            min(row.first_seen for row in rows),
            tuple(sorted({f"{row.repository}@{row.digest}" for row in rows})),
        )
        for secret, rows in found.items()
    ]
    return sorted(
        (item for item in shared if len(item.images) > 1), key=lambda item: (-len(item.images), item.rule, item.images)
    )


def leaking_layers(store: SweepStore, sweep: int) -> list[LeakingLayer]:
    """Return the layers that added secrets, those with most tags first."""
    tags = tags_of(store, sweep)
    found: dict[str, list[FindingRow]] = {}
    for row in findings(store, sweep):
        if row.layer is not None:
            found.setdefault(row.layer, []).append(row)
    layers = [
        LeakingLayer(
            digest,
            len({row.secret for row in rows}),
            tuple(sorted({row.rule for row in rows})),
            _worst(rows),
            min(row.first_seen for row in rows),
            tuple(sorted({f"{row.repository}:{tag}" for row in rows for tag in tags.get(row.image, ())})),
            tuple(sorted({f"{row.repository}@{row.digest}" for row in rows})),
        )
        for digest, rows in found.items()
    ]
    return sorted(layers, key=lambda layer: (-len(layer.tags), layer.digest))


def first_seen(store: SweepStore, sweep: int) -> dict[tuple[str, str], str]:
    """Return when each finding was first seen, by repository and finding id; deleted images count too."""
    repositories = repositories_of(sweep)
    query = (
        select(t.repository.c.name, t.finding.c.finding, func.min(t.finding.c.first_seen).label("first_seen"))
        .join(t.image, t.image.c.repository == t.repository.c.id)
        .join(t.finding, t.finding.c.image == t.image.c.id)
        .where(t.repository.c.id.in_(repositories))
        .group_by(t.repository.c.name, t.finding.c.finding)
    )
    return {(row.name, row.finding): row.first_seen for row in _all(store, query)}


def tags_of(store: SweepStore, sweep: int) -> dict[int, tuple[str, ...]]:
    """Return the tags of the images of a sweep, by row."""
    found: dict[int, set[str]] = {}
    for row in _all(store, seen_tags(sweep)):
        found.setdefault(row.id, set()).add(row.name)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def secret_intervals(store: SweepStore, host: str, prefix: str) -> list[SecretInterval]:
    """Return when each secret was in each repository of a registry, below a prefix if there is one."""
    own, name = t.finding.c, t.repository.c.name
    present = func.max(case((own.absent_since.is_(None), 1), else_=0))
    query = (
        select(own.secret, name, func.min(own.first_seen), present, func.max(own.absent_since))
        .join(t.image, t.image.c.id == own.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(t.repository.c.host == host, own.reported.is_(True))
        .group_by(own.secret, name)
        .order_by(own.secret, name)
    )
    return [
        SecretInterval(bytes(secret).hex(), repository, first_seen, None if is_present else absent_since)
        for secret, repository, first_seen, is_present, absent_since in _all(store, query)
        if not prefix or repository == prefix or repository.startswith(f"{prefix}/")
    ]


def failures(store: SweepStore, sweep: int) -> list[tuple[str, str]]:
    """Return the references that a sweep could not audit, with reasons."""
    query = select(t.failure).where(t.failure.c.sweep == sweep).order_by(t.failure.c.reference)
    return [(row.reference, row.reason) for row in _all(store, query)]


def report(store: SweepStore, image: int) -> dict[str, Any]:
    """Return the masked JSON report of an image. docs/report.md describes it."""
    data = store.read(lambda c: c.execute(select(t.report.c.data).where(t.report.c.image == image)).scalar_one())
    value: dict[str, Any] = json.loads(zlib.decompress(data))
    return value


def layer_counts(store: SweepStore, sweep: int) -> dict[str, int]:
    """Return the number of distinct layers of a sweep, of downloaded ones, and the stored size of those."""
    own = select(t.image_layer.c.layer).where(t.image_layer.c.image.in_(images_of(sweep)))
    counted = select(func.count(), func.coalesce(func.sum(t.layer.c.size), 0)).select_from(t.layer)
    unique = store.read(lambda c: c.execute(counted.where(t.layer.c.digest.in_(own))).one())
    read = store.read(lambda c: c.execute(counted.where(t.layer.c.read_in == sweep)).one())
    return {"layers_unique": int(unique[0]), "layers_read": int(read[0]), "bytes_read": int(read[1])}


def counts(store: SweepStore, sweep: int) -> dict[str, int]:
    """Return the counts of a sweep, by the column names of schema/sweeps.py."""
    seen, found = images(store, sweep), findings(store, sweep)
    severities = Counter(row.severity for row in found)
    return {
        "repositories": len({image.repository for image in seen}),
        "images": len(seen),
        "tags": len({(image.repository, tag) for image in seen for tag in image.tags}),
        **{severity.value: severities[severity] for severity in Severity},
        "secrets": len({row.secret for row in found}),
        "new": len(new_findings(store, sweep)),
        "gone": len(gone_findings(store, sweep)),
        "failed": len(failures(store, sweep)),
        "withdrawn": sum(not row.is_deleted for row in withdrawn(store, sweep)),
        **layer_counts(store, sweep),
    }


# --- parts of the queries ---------------------------------------------------------------------------------------------


def _all(store: SweepStore, query: Select[Any]) -> Sequence[Any]:
    return store.read(lambda c: c.execute(query).all())


def _findings(store: SweepStore, condition: Any) -> list[FindingRow]:
    rows = [finding_row(row) for row in _all(store, findings_where(condition))]
    return sorted(rows, key=lambda r: (r.repository, r.digest, -Severity(r.severity).rank, r.path or "\uffff", r.id))


def _gone_by_tag(
    store: SweepStore, sweep: int, gone: set[tuple[str, str]]
) -> dict[tuple[str, str, str | None], set[str]]:
    """Return the gone findings by repository, last tag and platform."""
    found: dict[tuple[str, str, str | None], set[str]] = {}
    deleted = [row for row in withdrawn(store, sweep) if row.is_deleted] if gone else []
    by_image = _by_image(_findings(store, deleted_with_image(sweep))) if deleted else {}
    for row in deleted:
        own = {one.id for one in by_image.get(row.image.id, ()) if (one.repository, one.id) in gone}
        for tag in row.tags:
            found.setdefault((row.image.repository, tag, row.image.platform), set()).update(own)
    return found


def _image(row: Any, tags: tuple[str, ...], findings: Sequence[FindingRow], new: int, gone: int) -> ImageRow:
    severities = _counted(Severity, [finding.severity for finding in findings])
    states = _counted(State, [finding.state for finding in findings])
    return ImageRow(
        row.id, row.repository, row.digest, row.platform, tags, severities, states, new, gone, row.first_seen
    )


def _by_image(rows: Sequence[FindingRow]) -> dict[int, list[FindingRow]]:
    found: dict[int, list[FindingRow]] = {}
    for row in rows:
        found.setdefault(row.image, []).append(row)
    return found


def _each_once(rows: Iterator[FindingRow]) -> list[FindingRow]:
    found: dict[tuple[str, str], FindingRow] = {}
    for row in rows:
        found.setdefault((row.repository, row.id), row)
    return list(found.values())


def _counted(kinds: Any, values: Sequence[str]) -> dict[str, int]:
    counts = Counter(values)
    return {kind.value: counts[kind] for kind in kinds if counts[kind]}


def _worst(rows: Sequence[FindingRow]) -> str:
    return str(max((Severity(row.severity) for row in rows), key=lambda severity: severity.rank))
