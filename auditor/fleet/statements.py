"""The SQL behind queries.py: what a sweep saw, and what was there before it and after it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, or_, select

from auditor.fleet import schema as t


def images_of(sweep: int) -> Select[Any]:
    """The numbers of the images that a sweep saw."""
    return select(t.seen_image.c.image).where(t.seen_image.c.sweep == sweep)


def repositories_of(sweep: int) -> Select[Any]:
    """The numbers of the repositories that hold them."""
    return select(t.image.c.repository).where(t.image.c.id.in_(images_of(sweep)))


def seen_images(sweep: int) -> Select[Any]:
    """The images that a sweep saw."""
    return (
        select(t.image.c.id, t.repository.c.name.label("repository"), t.image.c.digest, t.image.c.platform,
               t.image.c.first_seen)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(t.image.c.id.in_(images_of(sweep)))
    )  # fmt: skip


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
    """Whether a finding is in an image that a sweep saw."""
    return and_(t.finding.c.image.in_(images_of(sweep)), t.finding.c.held.is_(True))


def ids_before(sweep: int) -> Select[Any]:
    """Repository and id of what the repositories of a sweep held when it began.

    What only sweeps have seen that never ended was told to nobody, and does not count.
    """
    untold = select(t.sweep.c.id).where(t.sweep.c.finished.is_(None))
    there = and_(_there_before(t.finding, sweep), t.finding.c.since.not_in(untold))
    return _ids().where(t.repository.c.id.in_(repositories_of(sweep)), there)


def ids_after(sweep: int) -> Select[Any]:
    """Repository and id of what repositories still held when a sweep ended, of those from which something went."""
    went = select(t.image.c.repository).join(t.finding, t.finding.c.image == t.image.c.id)
    there = and_(t.finding.c.since <= sweep, or_(t.finding.c.gone_in.is_(None), t.finding.c.gone_in > sweep))
    return _ids().where(t.repository.c.id.in_(went.where(t.finding.c.gone_in == sweep)), there)


def seen_tags(sweep: int) -> Select[Any]:
    """The tags that a sweep saw, with the images that they name."""
    own = select(t.seen_tag.c.tag).where(t.seen_tag.c.sweep == sweep)
    return _tagged(t.tag.c.id.in_(own), t.image.c.id.in_(images_of(sweep)))


def tags_before(sweep: int) -> Select[Any]:
    """The tags that were there before, with the findings of theirs that went."""
    return (
        _tagged(_there_before(t.tag, sweep), t.finding.c.gone_in == sweep)
        .join(t.finding, t.finding.c.image == t.image.c.id)
        .add_columns(t.finding.c.finding)
    )


def _there_before(table: Any, sweep: int) -> Any:
    return and_(table.c.since < sweep, or_(table.c.gone_in.is_(None), table.c.gone_in >= sweep))


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
