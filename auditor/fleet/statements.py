"""The SQL behind queries.py: which rows a sweep saw, and which the one before saw."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, case, select

from auditor.fleet import schema as t


def seen_images(sweep: int) -> Select[Any]:
    """The images that a sweep saw."""
    return (
        select(t.image.c.id, t.repository.c.name.label("repository"), t.image.c.digest, t.image.c.platform,
               t.image.c.first_seen)
        .join(t.repository, t.repository.c.id == t.image.c.repository)
        .where(t.image.c.last_seen == sweep)
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


def held_before(sweep: int) -> Any:
    """Whether a finding was held when its repository, which `sweep` went through, was swept before."""
    before = _before(sweep)
    covered = t.repository.c.last_sweep == sweep
    return and_(covered, t.finding.c.since <= before, t.finding.c.last_seen >= before)


def ids_before(sweep: int) -> Select[Any]:
    """Repository and id of what was held before in the repositories of which `sweep` saw images."""
    before = _before(sweep)
    own = select(t.image.c.repository).where(t.image.c.last_seen == sweep)
    return (
        select(t.repository.c.name, t.finding.c.finding)
        .join(t.image, t.image.c.repository == t.repository.c.id)
        .join(t.finding, t.finding.c.image == t.image.c.id)
        .where(t.repository.c.id.in_(own), t.finding.c.since <= before, t.finding.c.last_seen >= before)
        .distinct()
    )


def seen_tags(sweep: int) -> Select[Any]:
    """The tags that a sweep saw, with the images that they name."""
    return _tagged(t.image.c.last_seen == sweep, t.tag.c.last_seen == sweep)


def tags_before(sweep: int) -> Select[Any]:
    """The tags that were there before, with the findings that they held then."""
    before = _before(sweep)
    return (
        _tagged(held_before(sweep), and_(t.tag.c.since <= before, t.tag.c.last_seen >= before))
        .join(t.finding, t.finding.c.image == t.image.c.id)
        .add_columns(t.finding.c.finding)
    )


def _before(sweep: int) -> Any:
    """The sweep that went through a repository before `sweep` did, or will have done: a column."""
    return case((t.repository.c.last_sweep == sweep, t.repository.c.previous_sweep), else_=t.repository.c.last_sweep)


def _tagged(*conditions: Any) -> Select[Any]:
    return (
        select(t.repository.c.name.label("repository"), t.tag.c.name, t.image.c.id, t.image.c.platform)
        .join(t.repository, t.repository.c.id == t.tag.c.repository)
        .join(t.leaf, t.leaf.c.manifest == t.tag.c.manifest)
        .join(t.image, and_(t.image.c.repository == t.tag.c.repository, t.image.c.digest == t.leaf.c.digest))
        .where(*conditions)
    )
