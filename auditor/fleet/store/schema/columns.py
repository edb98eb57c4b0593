"""What the tables share: how constraints are named, the lengths of texts, and when something was there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)
DIGEST = String(135)  # sha512 and its name
NAME = String(255)
TIME = String(20)


def one_of(column: str, values: Any) -> CheckConstraint:
    """Return the constraint that a column has one of some values."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", column)


def number() -> Column[int]:
    """Return the column that numbers a table's rows."""
    return Column("id", Integer, primary_key=True, comment="given by the store")


def span(
    gone: str = "sweep that found it deleted; null while it may be pulled",
) -> tuple[Column[Any] | CheckConstraint, ...]:
    """Return the columns that say when a row was there: see the package."""
    return (
        Column("first_seen", TIME, nullable=False, comment="start of the first sweep that saw it"),
        Column("since", Integer, nullable=False, comment="sweep from which on it was there without a gap"),
        Column("last_seen", Integer, nullable=False, comment="last sweep that saw it"),
        Column("gone_in", Integer, comment=gone),
        CheckConstraint("since <= last_seen", "span"),
        CheckConstraint("since <= gone_in", "gone"),
    )
