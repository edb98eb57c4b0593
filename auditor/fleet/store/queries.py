"""Queries: everything that is displayed of a sweep comes from here and from image_list.py, in a fixed order.

    sweeps(store, registry)             finished sweeps, oldest first
    last_sweep(store, registry)         newest finished sweep, preferably one without a filter
    alike(store, sweep)                 comparable sweeps, for trends
    counts(store, sweep)                counts of a sweep
    repeated_counts(store, sweep)       counts of a sweep without changes
    findings(store, sweep)              findings of both, except deleted images; with first and last seen
    new_findings, gone_findings         one row for each repository and finding id
    shared_secrets(findings)            secrets in more than one image
    leaking_layers(store, …)            layers that added secrets, with the tags and images that contain them
    first_seen(store, sweep)            when each finding of a repository was first seen, in any image
    first_sights(store, host)           when each secret was first seen, in any image
    tags_of(store, sweep)               tags of each image with findings
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
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, case, exists, func, or_, select

from auditor.core.finding import Severity
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_use import used_layers
from auditor.fleet.store.rows import (
    FindingRow,
    LeakingLayer,
    SecretInterval,
    SharedSecret,
    SweepRow,
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
    pullable_images,
    repositories_of,
    seen_repositories,
    seen_tags,
)


def sweeps(store: SweepStore, registry: str | None = None) -> list[SweepRow]:
    """Return the finished sweeps, oldest first; of all registries if `registry` is None."""
    query = select(t.sweep).where(t.sweep.c.finished.is_not(None)).order_by(t.sweep.c.id)
    if registry is not None:
        query = query.where(t.sweep.c.registry == registry)
    return [sweep_row(row) for row in rows_of(store, query)]


def has_sweep(store: SweepStore, registry: str, ruleset: str) -> bool:
    """Whether a finished sweep of a registry used the rules with this digest."""
    own = t.sweep.c.finished.is_not(None) & (t.sweep.c.registry == registry) & (t.sweep.c.ruleset == ruleset)
    return bool(rows_of(store, select(t.sweep.c.id).where(own).limit(1)))


def last_sweep(store: SweepStore, registry: str | None = None) -> SweepRow | None:
    """Return the newest finished sweep without a filter; without one, the newest finished sweep."""
    found = sweeps(store, registry)
    return max(found, key=lambda row: (row.filter_text is None, row.id), default=None)


def alike(store: SweepStore, sweep: SweepRow) -> list[SweepRow]:
    """Return the sweeps of the same registry with the same filter, up to this one, oldest first."""
    return [row for row in sweeps(store, sweep.registry) if row.filter_text == sweep.filter_text and row.id <= sweep.id]


def findings(store: SweepStore, sweep: int) -> list[FindingRow]:
    """Return the findings that can be pulled: of the images of a sweep, and of withdrawn ones that are not deleted.

    The most severe ones of an image come first.
    """
    return findings_of(store, pullable_findings(sweep))


def severities(store: SweepStore, sweep: int, without: Collection[str] = ()) -> dict[str, int]:
    """Return the number of findings that can be pulled, by severity, except those of the secrets `without`."""
    severity = t.finding.c.severity
    secrets = [bytes.fromhex(secret) for secret in without]
    query = (
        select(severity, func.count().label("count"))
        .where(pullable_findings(sweep), t.finding.c.secret.not_in(secrets))
        .group_by(severity)
    )
    return {row[0]: int(row[1]) for row in rows_of(store, query)}


def new_findings(store: SweepStore, sweep: int) -> list[FindingRow]:
    """Return the findings that are new in their repository: one row for each id."""
    rows = findings_of(store, and_(pullable_findings(sweep), t.finding.c.present_since == sweep))
    before = {(row.name, row.finding) for row in rows_of(store, ids_before(sweep))} if rows else set()
    return _each_once(row for row in rows if (row.repository, row.id) not in before)


def gone_findings(store: SweepStore, sweep: int) -> list[FindingRow]:
    """Return the findings that are gone from their repository: one row for each id."""
    rows = findings_of(store, deleted_with_image(sweep))
    still_present = {(row.name, row.finding) for row in rows_of(store, ids_after(sweep))} if rows else set()
    return _each_once(row for row in rows if (row.repository, row.id) not in still_present)


def shared_secrets(findings: Iterable[FindingRow]) -> list[SharedSecret]:
    """Return the secrets of findings in more than one image, those in most images first."""
    found: dict[str, list[FindingRow]] = {}
    for row in findings:
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


def leaking_layers(store: SweepStore, sweep: int, findings: Iterable[FindingRow]) -> list[LeakingLayer]:
    """Return the layers that added the secrets of findings, those with most tags first."""
    tags = tags_of(store, sweep)
    found: dict[str, list[FindingRow]] = {}
    for row in findings:
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
    return {(row.name, row.finding): row.first_seen for row in rows_of(store, query)}


def first_sights(store: SweepStore, host: str) -> dict[str, str]:
    """Return when each secret was first seen in any image of a registry; deleted images count too."""
    query = (
        select(t.finding.c.secret, func.min(t.finding.c.first_seen))
        .join(t.image, t.image.c.id == t.finding.c.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(t.repository.c.host == host)
        .group_by(t.finding.c.secret)
    )
    return {bytes(secret).hex(): first_seen for secret, first_seen in rows_of(store, query)}


def tags_of(store: SweepStore, sweep: int) -> dict[int, tuple[str, ...]]:
    """Return the tags of the images with findings, by row."""
    found: dict[int, set[str]] = {}
    leaking = select(t.finding.c.image).where(pullable_findings(sweep))
    # The sum keeps SQLite from trying every leaking image for each tag.
    tags = seen_tags(sweep).subquery()
    for row in rows_of(store, select(tags).where((tags.c.id + 0).in_(leaking))):
        found.setdefault(row.id, set()).add(row.name)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def secret_intervals(store: SweepStore, host: str, prefix: str) -> list[SecretInterval]:
    """Return when each secret was in each repository of a registry, below a prefix if there is one."""
    own, name = t.finding.c, t.repository.c.name
    present = func.max(case((own.absent_since.is_(None), 1), else_=0))
    by_time = sorted((row.started, row.id) for row in rows_of(store, select(t.sweep.c.started, t.sweep.c.id)))
    query = (
        select(
            own.secret, name, func.min(own.first_seen), func.min(own.present_since), present, func.max(own.absent_since)
        )
        .join(t.image, t.image.c.id == own.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(t.repository.c.host == host, own.reported.is_(True))
        .group_by(own.secret, name)
        .order_by(own.secret, name)
    )
    return [
        SecretInterval(
            bytes(secret).hex(),
            repository,
            first_seen,
            _first_sweep(by_time, first_seen, present_since),
            None if is_present else absent_since,
        )
        for secret, repository, first_seen, present_since, is_present, absent_since in rows_of(store, query)
        if not prefix or repository == prefix or repository.startswith(f"{prefix}/")
    ]


def failures(store: SweepStore, sweep: int) -> list[tuple[str, str]]:
    """Return the references that a sweep could not audit, with reasons."""
    query = select(t.failure).where(t.failure.c.sweep == sweep).order_by(t.failure.c.reference)
    return [(row.reference, row.reason) for row in rows_of(store, query)]


def report(store: SweepStore, image: int) -> dict[str, Any]:
    """Return the masked JSON report of an image. docs/report.md describes it."""
    data = store.read(lambda c: c.execute(select(t.report.c.data).where(t.report.c.image == image)).scalar_one())
    value: dict[str, Any] = json.loads(zlib.decompress(data))
    return value


def layer_counts(store: SweepStore, sweep: int) -> dict[str, int]:
    """Return the number of distinct layers of a sweep, of downloaded ones, and the stored size of those."""
    counted = select(func.count(), func.coalesce(func.sum(t.layer.c.size), 0)).where(t.layer.c.read_in == sweep)
    read = store.read(lambda c: c.execute(counted).one())
    unique = sum(store.read(lambda c: used_layers(c, t.image.c.id.in_(images_of(sweep)))))
    return {"layers_unique": unique, "layers_read": int(read[0]), "bytes_read": int(read[1])}


def counts(store: SweepStore, sweep: int) -> dict[str, int]:
    """Return the counts of a sweep, by the column names of schema/sweeps.py. The database counts images and tags."""
    return store.read(lambda _: _counts(store, sweep))


def repeated_counts(store: SweepStore, sweep: int) -> dict[str, int] | None:
    """Return the counts of a sweep that found every repository as it was before: those of the last sweep of its kind.

    None if that saw other repositories, or there are images without a tag: their number may have changed.
    """
    return store.read(lambda c: _repeated_counts(c, sweep))


def _repeated_counts(connection: Connection, sweep: int) -> dict[str, int] | None:
    own, kind = t.sweep.c, t.sweep.alias()
    is_before = and_(kind.c.id == sweep, own.registry == kind.c.registry, own.scope == kind.c.scope, own.id < sweep)
    finished = select(t.sweep).join(kind, is_before).where(own.finished.is_not(None))
    before = connection.execute(finished.order_by(own.id.desc()).limit(1)).first()
    if before is None:
        return None
    now, then = (select(t.seen.c.observation).where(t.seen.c.sweep == number) for number in (sweep, before.id))
    untagged = select(t.withdrawn.c.image).where(t.withdrawn.c.sweep.in_((sweep, before.id)))
    if connection.execute(select(or_(*map(exists, (now.except_(then), then.except_(now), untagged))))).scalar():
        return None
    none = dict.fromkeys(("new", "gone", "failed", "layers_read", "bytes_read"), 0)
    return {**sweep_row(before).counts, **none}


def _counts(store: SweepStore, sweep: int) -> dict[str, int]:
    tags = seen_tags(sweep).subquery().c
    own = t.withdrawn.c
    queries = {
        "repositories": select(func.count()).select_from(seen_repositories(sweep).subquery()),
        "images": select(func.count()).select_from(images_of(sweep).subquery()),
        "tags": select(func.count()).select_from(select(tags.repository, tags.name).distinct().subquery()),
        "partial": select(func.count()).where(t.image.c.id.in_(pullable_images(sweep)), t.image.c.skipped > 0),
        "secrets": select(func.count(t.finding.c.secret.distinct())).where(pullable_findings(sweep)),
        "attached": select(func.coalesce(func.sum(t.observation.c.attached), 0))
        .join(t.seen, t.seen.c.observation == t.observation.c.id)
        .where(t.seen.c.sweep == sweep),
        "withdrawn": select(func.count()).where(own.sweep == sweep, own.pullable.is_not(False)),
    }
    by_severity = severities(store, sweep)
    return {
        **{name: int(store.read(lambda c, own=query: c.execute(own).scalar_one())) for name, query in queries.items()},  # type: ignore[misc]
        **{severity.value: by_severity.get(severity, 0) for severity in Severity},
        "new": len(new_findings(store, sweep)),
        "gone": len(gone_findings(store, sweep)),
        "failed": len(failures(store, sweep)),
        **layer_counts(store, sweep),
    }


# --- parts of the queries ---------------------------------------------------------------------------------------------


def rows_of(store: SweepStore, query: Select[Any], values: Mapping[str, Any] | None = None) -> Sequence[Any]:
    """Return the rows of a query with these values of its parameters."""
    return store.read(lambda c: c.execute(query, values or {}).all())


def findings_of(store: SweepStore, condition: Any, values: Mapping[str, Any] | None = None) -> list[FindingRow]:
    """Return the findings that fulfil a condition with these values of its parameters, by image."""
    shared: dict[Any, Any] = {}
    rows = [finding_row(row, shared) for row in rows_of(store, findings_where(condition), values)]
    return sorted(rows, key=lambda r: (r.repository, r.digest, -Severity(r.severity).rank, r.path or "\uffff", r.id))


def _first_sweep(by_time: Sequence[tuple[str, int]], first_seen: str, present_since: int) -> int:
    """Return the sweep that started at a time, of sweeps by time, or the next one if it was deleted.

    `present_since` is later if the secret was gone meanwhile, and earlier if the clock went back.
    """
    at = bisect_left(by_time, (first_seen, 0))
    return min([present_since, *(number for _, number in by_time[at : at + 1])])


def _each_once(rows: Iterator[FindingRow]) -> list[FindingRow]:
    found: dict[tuple[str, str], FindingRow] = {}
    for row in rows:
        found.setdefault((row.repository, row.id), row)
    return list(found.values())


def _worst(rows: Sequence[FindingRow]) -> str:
    return str(max((Severity(row.severity) for row in rows), key=lambda severity: severity.rank))
