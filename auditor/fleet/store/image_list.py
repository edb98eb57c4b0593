"""Images of a sweep, repository by repository, so that memory does not grow with the registry.

each_image(store, sweep)    images by name, with tags, counts by severity and state, new and gone findings
images(store, sweep)        all of them at once
withdrawn(store, sweep)     images without a tag, and whether they can be pulled
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, bindparam

from auditor.core.finding import Severity, State
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.queries import findings_of, gone_findings, new_findings, rows_of
from auditor.fleet.store.rows import FindingRow, ImageRow, SweepRow, WithdrawnRow
from auditor.fleet.store.statements import (
    deleted_with_image,
    images_of,
    seen_images,
    seen_repositories,
    seen_tags,
    withdrawn_by,
    withdrawn_images,
)

_REPOSITORIES = 100
"""Repositories read at a time."""

_IN_BATCH = t.observation.c.repository.in_(bindparam("repositories", expanding=True))
_NONE: dict[str, int] = {}


def images(store: SweepStore, sweep: SweepRow) -> list[ImageRow]:
    """Return the images of a finished sweep."""
    texts: dict[str | None, str | None] = {}  # equal texts of many images are one object

    def shared(text: Any) -> Any:
        return texts.setdefault(text, text)

    return [
        replace(
            one,
            repository=shared(one.repository),
            platform=shared(one.platform),
            tags=tuple(map(shared, one.tags)),
            first_seen=shared(one.first_seen),
        )
        for one in each_image(store, sweep)
    ]


def each_image(store: SweepStore, sweep: SweepRow) -> Iterator[ImageRow]:
    """Yield the images of a finished sweep by repository, tags, platform and digest."""
    changes, rows = store.read(lambda _: (_Changes(store, sweep), rows_of(store, seen_repositories(sweep.id))))
    repositories = [row.id for row in sorted(rows, key=lambda row: row.name)]
    for start in range(0, len(repositories), _REPOSITORIES):
        batch = repositories[start : start + _REPOSITORIES]
        yield from store.read(lambda _, own=batch: _images_of(store, sweep.id, own, changes))  # type: ignore[misc]


def withdrawn(store: SweepStore, sweep: int) -> list[WithdrawnRow]:
    """Return the images without a tag, those that can be pulled first."""
    rows = rows_of(store, withdrawn_images(sweep))
    condition = and_(t.finding.c.image.in_(withdrawn_by(sweep)), t.finding.c.reported.is_(True))
    by_image = _by_image(findings_of(store, condition)) if rows else {}
    found = [
        WithdrawnRow(_image(row, (), by_image.get(row.id, ()), 0, 0), tuple(json.loads(row.tags)), row.pullable)
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.is_deleted, one.image.repository, one.tags, one.image.digest))


def _seen_in_batch(sweep: int) -> Any:
    """Condition: a finding of an image of some repositories that a sweep saw."""
    return and_(t.finding.c.image.in_(images_of(sweep, _IN_BATCH)), t.finding.c.reported.is_(True))


class _Changes:
    """New findings of a sweep by repository and id, gone ones by repository, last tag and platform.

    They are read only if the sweep counted any.
    """

    def __init__(self, store: SweepStore, sweep: SweepRow) -> None:
        new = new_findings(store, sweep.id) if sweep.counts["new"] else ()
        self.new = {(row.repository, row.id) for row in new}
        self.gone = _gone_by_tag(store, sweep.id) if sweep.counts["gone"] else {}


def _images_of(store: SweepStore, sweep: int, repositories: list[int], changes: _Changes) -> list[ImageRow]:
    """Return the images of some repositories, in the order of `each_image`."""
    batch = {"repositories": repositories}
    tags = _tags(store, sweep, batch)
    by_image = _by_image(findings_of(store, _seen_in_batch(sweep), batch))
    found = []
    for row in rows_of(store, seen_images(sweep, _IN_BATCH), batch):
        own, names = by_image.get(row.id, ()), tags.get(row.id, ())
        new = sum((one.repository, one.id) in changes.new for one in own)
        gone = set().union(*(changes.gone.get((row.repository, tag, row.platform), ()) for tag in names))
        found.append(_image(row, names, own, new, len(gone)))
    return sorted(found, key=lambda one: (one.repository, one.tags, one.platform or "", one.digest))


def _tags(store: SweepStore, sweep: int, batch: dict[str, list[int]]) -> dict[int, tuple[str, ...]]:
    """Return the tags of images, by row."""
    found: dict[int, set[str]] = {}
    for row in rows_of(store, seen_tags(sweep, _IN_BATCH), batch):
        found.setdefault(row.id, set()).add(row.name)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def _gone_by_tag(store: SweepStore, sweep: int) -> dict[tuple[str, str, str | None], set[str]]:
    """Return the gone findings by repository, last tag and platform."""
    gone = {(row.repository, row.id) for row in gone_findings(store, sweep)}
    found: dict[tuple[str, str, str | None], set[str]] = {}
    deleted = [row for row in withdrawn(store, sweep) if row.is_deleted]
    by_image = _by_image(findings_of(store, deleted_with_image(sweep)))
    for row in deleted:
        own = {one.id for one in by_image.get(row.image.id, ()) if (one.repository, one.id) in gone}
        for tag in row.tags:
            found.setdefault((row.image.repository, tag, row.image.platform), set()).update(own)
    return found


def _image(row: Any, tags: tuple[str, ...], findings: Sequence[FindingRow], new: int, gone: int) -> ImageRow:
    severities = _counted(Severity, [finding.severity for finding in findings])
    states = _counted(State, [finding.state for finding in findings])
    return ImageRow(
        row.id, row.repository, row.digest, row.platform, tags, severities, states, new, gone, row.first_seen,
        row.skipped, has_report=row.has_report,
    )  # fmt: skip


def _by_image(rows: Iterable[FindingRow]) -> dict[int, list[FindingRow]]:
    found: dict[int, list[FindingRow]] = {}
    for row in rows:
        found.setdefault(row.image, []).append(row)
    return found


def _counted(kinds: Any, values: Sequence[str]) -> dict[str, int]:
    if not values:
        return _NONE  # one object for all images without findings
    counts = Counter(values)
    return {kind.value: counts[kind] for kind in kinds if counts[kind]}
