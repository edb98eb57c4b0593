"""SQL statements of queries.py: images and findings of a sweep, and of the time before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select, and_, exists, func, or_, select

from auditor.fleet.store import schema as t


def images_of(sweep: int, *where: Any) -> Select[Any]:
    """Select the ids of the images that a sweep saw. `where` are conditions for observations."""
    return _seen(select(t.observed_image.c.image), sweep, where)


def pullable_images(sweep: int) -> CompoundSelect[Any]:
    """Select the ids of the images that a sweep saw, and of withdrawn ones that are not deleted."""
    return images_of(sweep).union(withdrawn_by(sweep).where(t.withdrawn.c.pullable.is_not(False)))


def withdrawn_by(sweep: int) -> Select[Any]:
    """Select the ids of the images without a tag in a sweep."""
    return select(t.withdrawn.c.image).where(t.withdrawn.c.sweep == sweep)


def seen_repositories(sweep: int) -> Select[Any]:
    """Select the repositories of the images that a sweep saw."""
    own = select(t.observation.c.repository).join(t.seen, t.seen.c.observation == t.observation.c.id)
    with_image = exists().where(t.observed_image.c.observation == t.observation.c.id)
    return select(t.repository.c.id, t.repository.c.name).where(
        t.repository.c.id.in_(own.where(t.seen.c.sweep == sweep, with_image))
    )


def withdrawn_images(sweep: int) -> Select[Any]:
    """Select the images without a tag in a sweep."""
    return (
        _images()
        .add_columns(t.withdrawn.c.tags, t.withdrawn.c.pullable)
        .join(t.withdrawn, t.withdrawn.c.image == t.image.c.id)
        .where(t.withdrawn.c.sweep == sweep)
    )


def repositories_of(sweep: int) -> Select[Any]:
    """The numbers of the repositories that hold them."""
    return select(t.image.c.repository).where(t.image.c.id.in_(pullable_images(sweep)))


def seen_images(sweep: int, *where: Any) -> Select[Any]:
    """Select the images that a sweep saw. `where` are conditions for observations."""
    return _seen(_images().join(t.observed_image, t.observed_image.c.image == t.image.c.id), sweep, where)


def findings_where(condition: Any) -> Select[Any]:
    """Select findings with their image, the columns in the order of the members of `FindingRow`."""
    own = t.finding.c
    return (
        select(
            own.image, t.repository.c.name.label("repository"), t.image.c.digest, t.image.c.platform, own.finding,
            own.rule, own.name, own.severity, own.confidence, own.state, own.path, own.metadata_location, own.line,
            own.masked, own.secret, own.layer, own.added_in, own.hidden_in, own.first_seen,
            func.coalesce(t.sweep.c.started, own.first_seen),
        )
        .join(t.image, t.image.c.id == t.finding.c.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .outerjoin(t.sweep, t.sweep.c.id == t.finding.c.last_seen)
        .where(condition)
    )  # fmt: skip


def pullable_findings(sweep: int) -> Any:
    """Condition: a finding of an image that a sweep saw, or of a withdrawn one that is not deleted."""
    return and_(t.finding.c.image.in_(pullable_images(sweep)), t.finding.c.reported.is_(True))


def deleted_with_image(sweep: int) -> Any:
    """Condition: a finding of an image that a sweep found to be deleted."""
    return and_(t.finding.c.absent_since == sweep, t.finding.c.reported.is_(True))


def ids_before(sweep: int) -> Select[Any]:
    """Select repository and id of the findings that the repositories of a sweep had when it began.

    Findings that only unfinished sweeps have seen do not count, because they were never reported.
    """
    unfinished = select(t.sweep.c.id).where(t.sweep.c.finished.is_(None))
    present = and_(_present_before(sweep), t.finding.c.present_since.not_in(unfinished))
    return _ids().where(t.repository.c.id.in_(repositories_of(sweep)), present)


def ids_after(sweep: int) -> Select[Any]:
    """Select repository and id of the findings that remained after a sweep, in repositories with gone ones."""
    affected = select(t.image.c.repository).join(t.finding, t.finding.c.image == t.image.c.id)
    present = and_(
        t.finding.c.present_since <= sweep, or_(t.finding.c.absent_since.is_(None), t.finding.c.absent_since > sweep)
    )
    return _ids().where(t.repository.c.id.in_(affected.where(t.finding.c.absent_since == sweep)), present)


def seen_tags(sweep: int, *where: Any) -> Select[Any]:
    """Select the tags that a sweep saw, with the images that they name: repository, name, and id of the image.

    `where` are conditions for observations.
    """
    tags = _step(
        "seen_tag",
        select(t.observation.c.id, t.observation.c.repository, t.tag.c.name, t.tag.c.manifest)
        .join(t.seen, t.seen.c.observation == t.observation.c.id)
        .join(t.observed_tag, t.observed_tag.c.observation == t.observation.c.id)
        .join(t.tag, t.tag.c.id == t.observed_tag.c.tag)
        .where(t.seen.c.sweep == sweep, t.tag.c.name.not_like("%:%"), *where),
    )
    image = t.image.c
    images = _step(
        "named_image",
        select(tags.id.label("observation"), tags.repository, tags.name, image.id.label("image"))
        .join(t.leaf, t.leaf.c.manifest == tags.manifest)
        .join(t.image, and_(image.repository == tags.repository, image.digest == t.leaf.c.digest)),
    )
    seen = t.observed_image.c
    return select(images.repository, images.name, images.image.label("id")).join(
        t.observed_image, and_(seen.observation == images.observation, seen.image == images.image)
    )


def _seen(query: Select[Any], sweep: int, where: Sequence[Any]) -> Select[Any]:
    """Restrict a query of observed images to a sweep, and to some observations."""
    query = query.join(t.seen, t.seen.c.observation == t.observed_image.c.observation).where(t.seen.c.sweep == sweep)
    if where:  # with those of images instead, PostgreSQL would read all images for each condition
        query = query.join(t.observation, t.observation.c.id == t.seen.c.observation).where(*where)
    return query


def _step(name: str, query: Select[Any]) -> Any:
    """Return the columns of a part of a query that PostgreSQL joins before the rest.

    Its planner takes longer to order the joins of seven tables than to join them, and orders them badly where tables
    have grown since it last looked at their sizes.
    """
    return query.cte(name).prefix_with("MATERIALIZED", dialect="postgresql").c


def _present_before(sweep: int) -> Any:
    own = t.finding.c
    return and_(own.present_since < sweep, or_(own.absent_since.is_(None), own.absent_since >= sweep))


def _images() -> Select[Any]:
    return select(
        t.image.c.id, t.repository.c.name.label("repository"), t.image.c.digest, t.image.c.platform,
        t.image.c.first_seen, t.image.c.skipped, t.report.c.image.is_not(None).label("has_report"),
    ).join(t.repository, t.repository.c.id == t.image.c.repository).outerjoin(
        t.report, t.report.c.image == t.image.c.id
    )  # fmt: skip


def _ids() -> Select[Any]:
    return (
        select(t.repository.c.name, t.finding.c.finding)
        .join(t.image, t.image.c.repository == t.repository.c.id)
        .join(t.finding, t.finding.c.image == t.image.c.id)
        .distinct()
    )
