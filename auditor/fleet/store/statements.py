"""The SQL behind queries.py: what a sweep saw, and what was there before it and after it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CompoundSelect, Select, and_, or_, select

from auditor.fleet.store import schema as t


def images_of(sweep: int) -> Select[Any]:
    """The numbers of the images that a sweep saw."""
    return select(t.seen_image.c.image).where(t.seen_image.c.sweep == sweep)


def pullable_images(sweep: int) -> CompoundSelect[Any]:
    """The numbers of the images that a sweep saw, and of those withdrawn ones that are not known to be deleted."""
    withdrawn = select(t.withdrawn.c.image).where(t.withdrawn.c.sweep == sweep, t.withdrawn.c.pullable.is_not(False))
    return images_of(sweep).union(withdrawn)


def withdrawn_images(sweep: int) -> Select[Any]:
    """The images that no tag named any more when a sweep looked for them."""
    return (
        _images()
        .add_columns(t.withdrawn.c.tags, t.withdrawn.c.pullable)
        .join(t.withdrawn, t.withdrawn.c.image == t.image.c.id)
        .where(t.withdrawn.c.sweep == sweep)
    )


def repositories_of(sweep: int) -> Select[Any]:
    """The numbers of the repositories that hold them."""
    return select(t.image.c.repository).where(t.image.c.id.in_(pullable_images(sweep)))


def seen_images(sweep: int) -> Select[Any]:
    """The images that a sweep saw."""
    return _images().where(t.image.c.id.in_(images_of(sweep)))


def findings_where(condition: Any) -> Select[Any]:
    """Findings with the image that holds each, and when it was last `seen`."""
    return (
        select(t.finding, t.repository.c.name.label("repository"), t.image.c.digest, t.image.c.platform,
               t.sweep.c.started.label("seen"))
        .join(t.image, t.image.c.id == t.finding.c.image)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .outerjoin(t.sweep, t.sweep.c.id == t.finding.c.last_seen)
        .where(condition)
    )  # fmt: skip


def held_by_seen(sweep: int) -> Any:
    """Whether a finding is in an image that a sweep saw, or in a withdrawn one that is not known to be deleted."""
    return and_(t.finding.c.image.in_(pullable_images(sweep)), t.finding.c.reported.is_(True))


def gone_in(sweep: int) -> Any:
    """Whether a finding was in an image that a sweep found to be deleted."""
    return and_(t.finding.c.absent_since == sweep, t.finding.c.reported.is_(True))


def ids_before(sweep: int) -> Select[Any]:
    """Repository and id of what the repositories of a sweep held when it began.

    What only sweeps have seen that never ended was told to nobody, and does not count.
    """
    untold = select(t.sweep.c.id).where(t.sweep.c.finished.is_(None))
    there = and_(_there_before(sweep), t.finding.c.present_since.not_in(untold))
    return _ids().where(t.repository.c.id.in_(repositories_of(sweep)), there)


def ids_after(sweep: int) -> Select[Any]:
    """Repository and id of what repositories still held when a sweep ended, of those from which something went."""
    went = select(t.image.c.repository).join(t.finding, t.finding.c.image == t.image.c.id)
    there = and_(
        t.finding.c.present_since <= sweep, or_(t.finding.c.absent_since.is_(None), t.finding.c.absent_since > sweep)
    )
    return _ids().where(t.repository.c.id.in_(went.where(t.finding.c.absent_since == sweep)), there)


def seen_tags(sweep: int) -> Select[Any]:
    """The tags that a sweep saw, with the images that they name."""
    own = select(t.seen_tag.c.tag).where(t.seen_tag.c.sweep == sweep)
    return _tagged(t.tag.c.id.in_(own), t.image.c.id.in_(images_of(sweep)))


def _there_before(sweep: int) -> Any:
    own = t.finding.c
    return and_(own.present_since < sweep, or_(own.absent_since.is_(None), own.absent_since >= sweep))


def _images() -> Select[Any]:
    return select(
        t.image.c.id, t.repository.c.name.label("repository"), t.image.c.digest, t.image.c.platform,
        t.image.c.first_seen,
    ).join(t.repository, t.repository.c.id == t.image.c.repository)  # fmt: skip


def _ids() -> Select[Any]:
    return (
        select(t.repository.c.name, t.finding.c.finding)
        .join(t.image, t.image.c.repository == t.repository.c.id)
        .join(t.finding, t.finding.c.image == t.image.c.id)
        .distinct()
    )


def _tagged(*conditions: Any) -> Select[Any]:
    return (
        select(t.repository.c.name.label("repository"), t.tag.c.name, t.image.c.id, t.image.c.platform)
        .join(t.repository, t.repository.c.id == t.tag.c.repository)
        .join(t.leaf, t.leaf.c.manifest == t.tag.c.manifest)
        .join(t.image, and_(t.image.c.repository == t.tag.c.repository, t.image.c.digest == t.leaf.c.digest))
        .where(t.tag.c.name.not_like("%:%"), *conditions)
    )
