"""What a sweep writes into the store as it goes. Each function is one transaction; each may be done again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from auditor.audit import Audit
from auditor.fleet import schema as t
from auditor.fleet.manifests import chunks
from auditor.fleet.store import Store, put
from auditor.model import Finding
from auditor.report.text import printable


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that is under way; `started` is RFC 3339."""

    id: int
    registry: str
    started: str


def begin(store: Store, registry: str, scope: str, ruleset: str, now: str) -> Sweep:
    """Begin a sweep, or go on with the one of this scope that was killed."""

    def work(connection: Connection) -> Sweep:
        row = connection.execute(
            select(t.sweep.c.id, t.sweep.c.started)
            .where(t.sweep.c.registry == registry, t.sweep.c.scope == scope, t.sweep.c.finished.is_(None))
            .order_by(t.sweep.c.id.desc())
        ).first()
        if row is not None:
            connection.execute(delete(t.failure).where(t.failure.c.sweep == row.id))
            return Sweep(row.id, registry, row.started)
        made = insert(t.sweep).values(registry=registry, scope=scope, ruleset=ruleset, started=now)
        return Sweep(_id_of(connection.execute(made)), registry, now)

    return store.write(work)


def repository_id(store: Store, host: str, name: str) -> int:
    """Return the number of a repository, which is made where it is new."""

    wanted = select(t.repository.c.id).where(t.repository.c.host == host, t.repository.c.name == name)

    def work(connection: Connection) -> int:
        put(connection, t.repository, {"host": host, "name": name}, {})
        return int(connection.execute(wanted).scalar_one())

    found: int | None = store.read(lambda c: c.execute(wanted).scalar())
    return store.write(work) if found is None else found


def audited(store: Store, repository: int) -> dict[str, str]:
    """Return the images of a repository that were audited, and the key each was audited under."""
    wanted = select(t.image.c.digest, t.image.c.audit).where(t.image.c.repository == repository)
    return {row.digest: row.audit for row in store.read(lambda c: c.execute(wanted).all())}


def keep_image(store: Store, sweep: Sweep, repository: int, key: str, audit: Audit, report: Mapping[str, Any]) -> None:
    """Keep what was found in an image; `report` is its masked JSON report, `key` what it was audited under."""
    platform = audit.image.config.platform
    values = {
        "platform": None if platform is None else printable(str(platform))[:128],
        "audit": key,
    }
    packed = zlib.compress(json.dumps(report, separators=(",", ":")).encode(), 6)

    def work(connection: Connection) -> None:
        for record, own in zip(audit.records, audit.image.layers, strict=True):
            layer = {"diff_id": record.diff_id, "size": record.size}
            put(connection, t.layer, {"digest": own.digest or record.digest}, layer)
        image = _seen(connection, sweep, t.image, {"repository": repository, "digest": audit.image.digest}, values)
        put(connection, t.report, {"image": image}, {"data": packed})
        connection.execute(delete(t.image_layer).where(t.image_layer.c.image == image))
        layers = [
            {"image": image, "position": position, "layer": own.digest or audit.records[position].digest}
            for position, own in enumerate(audit.image.layers)
        ]
        if layers:
            connection.execute(insert(t.image_layer), layers)
        connection.execute(update(t.finding).where(t.finding.c.image == image).values(held=False))
        for finding in audit.findings:
            row = _finding_row(audit, finding)
            _seen(connection, sweep, t.finding, {"image": image, "finding": finding.id}, {**row, "held": True})

    store.write(work)


def keep_read(store: Store, sweep: Sweep, digest: str, diff_id: str, size: int) -> None:
    """Note that a layer was downloaded."""
    values = {"diff_id": diff_id, "size": size, "read_in": sweep.id}
    store.write(lambda c: put(c, t.layer, {"digest": digest}, values))


def was_read(store: Store, sweep: Sweep, digest: str) -> bool:
    """Whether this sweep downloaded a layer, perhaps before it was killed."""
    wanted = select(t.layer.c.digest).where(t.layer.c.digest == digest, t.layer.c.read_in == sweep.id)
    return store.read(lambda c: c.execute(wanted).first()) is not None


def touch(store: Store, sweep: Sweep, repository: int, tags: Mapping[str, str], images: Collection[str]) -> None:
    """Note which tags a repository has, and which of its images were seen; with them, what they hold."""

    def work(connection: Connection) -> None:
        for table, column, keys in ((t.image, "digest", images), (t.tag, "name", tags)):
            for chunk in chunks(sorted(keys)):
                _see(connection, sweep, table, repository, column, chunk, tags if table is t.tag else None)
        seen = select(t.image.c.id).where(t.image.c.repository == repository, t.image.c.last_seen == sweep.id)
        _extend(connection, sweep, t.finding, [t.finding.c.held.is_(True), t.finding.c.image.in_(seen)])

    store.write(work)


def keep_failures(store: Store, sweep: Sweep, failures: Iterable[tuple[str, str]]) -> None:
    """Keep what was not audited, and why."""

    def work(connection: Connection) -> None:
        for reference, reason in failures:
            put(
                connection,
                t.failure,
                {"sweep": sweep.id, "reference": printable(reference)[:512]},
                {"reason": printable(reason)},
            )

    store.write(work)


def went_through(store: Store, sweep: Sweep, repositories: Collection[int]) -> None:
    """Note the repositories of which a sweep saw everything: what is new later is new since now."""

    def work(connection: Connection) -> None:
        for chunk in chunks(sorted(repositories)):
            connection.execute(
                update(t.repository)
                .where(t.repository.c.id.in_(chunk), func.coalesce(t.repository.c.last_sweep, 0) != sweep.id)
                .values(previous_sweep=t.repository.c.last_sweep, last_sweep=sweep.id)
            )

    store.write(work)


def finish(store: Store, sweep: Sweep, now: str, numbers: Mapping[str, int]) -> None:
    """End a sweep; `numbers` are the columns of `sweep` that count."""
    ended = update(t.sweep).where(t.sweep.c.id == sweep.id).values(finished=now, **numbers)
    store.write(lambda c: c.execute(ended))


def _seen(connection: Connection, sweep: Sweep, table: Any, key: dict[str, Any], values: dict[str, Any]) -> int:
    """Note that a row is there in this sweep; return its number."""
    where = [table.c[name] == value for name, value in key.items()]
    wanted = select(table.c.id).where(*where)
    found = connection.execute(wanted).scalar()
    if found is None:
        span = {"first_seen": sweep.started, "since": sweep.id, "last_seen": sweep.id}
        return _id_of(connection.execute(insert(table).values(**key, **values, **span)))
    connection.execute(update(table).where(*where).values(**values))
    _extend(connection, sweep, table, where)
    return int(found)


def _see(
    connection: Connection,
    sweep: Sweep,
    table: Any,
    repository: int,
    column: str,
    keys: Sequence[str],
    manifests: Mapping[str, str] | None,
) -> None:
    """Note that images or tags of a repository are there; a tag counts with what it names, and is made if new."""
    where = [table.c.repository == repository, table.c[column].in_(keys)]
    if manifests is None:
        _extend(connection, sweep, table, where)
        return
    rows = connection.execute(select(table.c.id, table.c.name, table.c.manifest).where(*where)).all()
    same = {row.name: row.id for row in rows if manifests[row.name] == row.manifest}
    _extend(connection, sweep, table, [table.c.id.in_(list(same.values()))])
    span = {"first_seen": sweep.started, "since": sweep.id, "last_seen": sweep.id}
    made = [
        {"repository": repository, "name": key, "manifest": manifests[key], **span} for key in keys if key not in same
    ]
    if made:
        connection.execute(insert(table), made)


def _extend(connection: Connection, sweep: Sweep, table: Any, where: Sequence[Any]) -> None:
    """Bring `last_seen` up; where the row was not there when its repository was last swept, `since` starts anew."""
    host = table if table is not t.finding else t.image
    own = select(t.repository.c.last_sweep)
    if table is t.finding:
        own = own.join(t.image, t.image.c.repository == t.repository.c.id).where(t.image.c.id == table.c.image)
    else:
        own = own.where(t.repository.c.id == host.c.repository)
    last = func.coalesce(own.correlate(table).scalar_subquery(), 0)
    behind = table.c.last_seen < last
    connection.execute(update(table).where(*where, behind).values(since=sweep.id, last_seen=sweep.id))
    connection.execute(update(table).where(*where, table.c.last_seen < sweep.id).values(last_seen=sweep.id))


def _id_of(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _finding_row(audit: Audit, finding: Finding) -> dict[str, Any]:
    held = finding.held_by[0].layer if finding.held_by else None
    return {
        "rule": finding.rule,
        "name": finding.name,
        "severity": str(finding.severity),
        "confidence": str(finding.confidence),
        "state": str(finding.state),
        "path": None if finding.path is None else printable(finding.path),
        "place": None if finding.where is None else printable(finding.where),
        "line": finding.line,
        "masked": printable(finding.secret.masked),
        "secret": finding.secret.identity,
        "layer": None if held is None else audit.image.layers[held].digest or audit.records[held].digest,
        "added_in": finding.added_in,
        "hidden_in": finding.hidden_in,
    }


def forget(store: Store, before: str) -> int:
    """Forget sweeps that ended before a time, and what none that stays has seen; return how many sweeps went.

    The newest sweep of a registry stays.
    """

    def work(connection: Connection) -> int:
        newest = select(func.max(t.sweep.c.id)).group_by(t.sweep.c.registry)
        old = select(t.sweep.c.id).where(
            func.coalesce(t.sweep.c.finished, t.sweep.c.started) < before, t.sweep.c.id.not_in(newest)
        )
        numbers = [int(number) for number in connection.execute(old).scalars()]
        for chunk in chunks(numbers):
            connection.execute(delete(t.finding).where(t.finding.c.last_seen.in_(chunk)))
            connection.execute(delete(t.tag).where(t.tag.c.last_seen.in_(chunk)))
            connection.execute(delete(t.image).where(t.image.c.last_seen.in_(chunk)))
            connection.execute(delete(t.sweep).where(t.sweep.c.id.in_(chunk)))
        held = select(t.image_layer.c.layer)
        named = select(t.tag.c.manifest)
        connection.execute(delete(t.layer).where(t.layer.c.digest.not_in(held)))
        connection.execute(delete(t.manifest).where(t.manifest.c.digest.not_in(named)))
        return len(numbers)

    return store.write(work)
