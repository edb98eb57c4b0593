"""Shared parts of the tables: names of constraints, lengths of texts, columns of a presence interval."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from sqlalchemy import CheckConstraint, Column, Dialect, Integer, LargeBinary, MetaData, String, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


class DigestBytes(TypeDecorator[str]):
    """A sha256 or sha512 digest, `algorithm:hex` in Python, 32 or 64 bytes in the database."""

    impl = LargeBinary(64)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Return the bytes of a digest."""
        return None if value is None else bytes.fromhex(value.partition(":")[2])

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the digest of stored bytes."""
        return None if value is None else f"sha{len(value) * 8}:{bytes(value).hex()}"


class LayerIds(TypeDecorator[tuple[int, ...]]):
    """Ids of layers, 4 bytes each in the database, big-endian; null for none."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Return the bytes of the ids."""
        return struct.pack(f">{len(value)}I", *value) if value else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> tuple[int, ...]:  # noqa: ARG002
        """Return the ids of stored bytes."""
        return struct.unpack(f">{len(value) // 4}I", value) if value else ()


class hex_digits(FunctionElement[str]):  # noqa: N801
    """SQL function: lower-case hexadecimal digits of stored bytes."""

    type = Text()
    inherit_cache = True


@compiles(hex_digits)
def _hex_digits(element: hex_digits, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower(hex({compiler.process(element.clauses, **options)}))"


@compiles(hex_digits, "postgresql")
def _hex_digits_postgresql(element: hex_digits, compiler: SQLCompiler, **options: Any) -> str:
    return f"encode({compiler.process(element.clauses, **options)}, 'hex')"


DIGEST = DigestBytes()
LAYER_IDS = LayerIds()
NAME = String(255)
TIME = String(20)


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """Constrain a column to the given values."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", column)


def number() -> Column[int]:
    """Primary key that the database assigns."""
    return Column("id", Integer, primary_key=True, comment="assigned by the database")


def presence_interval(
    absent_comment: str = "sweep in which the digest was deleted; null while it may be pulled",
    *,
    with_time: bool = True,
) -> tuple[Column[Any] | CheckConstraint, ...]:
    """Columns of a presence interval, with the time of its first sight or without: see the package."""
    first_seen = Column("first_seen", TIME, nullable=False, comment="start of the first sweep that saw it")
    return (
        *((first_seen,) if with_time else ()),
        Column("present_since", Integer, nullable=False, comment="first sweep of the current presence interval"),
        Column("last_seen", Integer, nullable=False, comment="last sweep that saw it"),
        Column("absent_since", Integer, comment=absent_comment),
        CheckConstraint("present_since <= last_seen", "last_seen"),
        CheckConstraint("present_since <= absent_since", "absent_since"),
    )
