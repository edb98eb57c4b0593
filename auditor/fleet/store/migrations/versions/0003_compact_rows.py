"""Compact rows: digests as bytes, layers by number, and tables that hold their keys once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003_compact_rows"
down_revision = "0002_remediation"

_DIGESTS = {
    "finding": ("layer",),
    "image": ("digest",),
    "layer": ("digest", "diff_id"),
    "leaf": ("manifest", "digest"),
    "manifest": ("digest",),
    "tag": ("manifest",),
}
"""Columns of digests, which become bytes."""

_KEYED = ("image_layer", "leaf", "manifest", "seen_image", "seen_tag", "withdrawn")
"""Tables that SQLite stores by primary key, without row numbers."""

_REBUILT = (*_DIGESTS, "image_layer", "report", "seen_image", "seen_tag", "withdrawn")


def upgrade() -> None:
    """Copy the rows into new tables."""
    _rebuild(compact=True)


def downgrade() -> None:
    """Copy the rows back."""
    _rebuild(compact=False)


def _rebuild(*, compact: bool) -> None:
    """Create the tables again and copy their rows. SQLite can't change the type of a column in place."""
    connection = op.get_bind()
    old, new = sa.MetaData(), sa.MetaData()
    old.reflect(connection, only=_REBUILT)
    for table in old.sorted_tables:
        if table.name not in ("layer", "image_layer"):
            _converted(table, new, compact=compact)
    _layer_tables(new, compact=compact)
    tables = [table for table in new.sorted_tables if table.name in _REBUILT]
    _add_function(connection)
    for table in tables:
        connection.execute(sa.text(f"CREATE TEMPORARY TABLE old_{table.name} AS SELECT * FROM {table.name}"))  # noqa: S608
    for table in reversed(tables):
        connection.execute(sa.text(f"DROP TABLE {table.name}"))
    for table in tables:
        table.create(connection)
        connection.execute(sa.text(_copy(connection, table, compact=compact)))
        if connection.dialect.name == "postgresql" and table.name != "layer" and "id" in table.c:
            last = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"  # noqa: S608
            connection.execute(sa.text(last))
    for table in tables:
        connection.execute(sa.text(f"DROP TABLE old_{table.name}"))


def _add_function(connection: sa.Connection) -> None:
    """Give SQLite a function that older versions of it lack."""
    if connection.dialect.name == "sqlite":
        own: Any = connection.connection.dbapi_connection
        own.create_function("digest_bytes", 1, lambda text: text and bytes.fromhex(text[7:]))


def _converted(table: sa.Table, into: sa.MetaData, *, compact: bool) -> None:
    """Copy the definition of a table, with the other type of digests."""
    copied = table.to_metadata(into)
    for name in _DIGESTS.get(table.name, ()):
        copied.c[name].type = _type(compact=compact)
    if "id" in copied.c:
        copied.c.id.server_default = None  # PostgreSQL: the new table has a sequence of its own
    if table.name in _KEYED:
        copied.dialect_options["sqlite"]["with_rowid"] = not compact


def _layer_tables(into: sa.MetaData, *, compact: bool) -> None:
    """Define the tables of layers: compact ones have numbers, to which the layers of images refer."""
    digest = sa.Column("digest", _type(compact=compact), nullable=False, comment="digest of the stored bytes, verified")
    number = sa.Column("id", sa.Integer(), nullable=False, comment="assigned by the database")
    sa.Table(
        "layer",
        into,
        *((number, digest) if compact else (digest,)),
        sa.Column(
            "diff_id", _type(compact=compact), nullable=False, comment="digest of the uncompressed bytes, verified"
        ),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="stored size in bytes"),
        sa.Column("read_in", sa.Integer(), comment="last sweep that downloaded it"),
        sa.CheckConstraint("size >= 0", name="ck_layer_size"),
        sa.PrimaryKeyConstraint("id" if compact else "digest", name="pk_layer"),
        *([sa.UniqueConstraint("digest", name="uq_layer_digest")] if compact else []),
    )
    key, kind = ("id", sa.Integer()) if compact else ("digest", _type(compact=False))
    layers = sa.Table(
        "image_layer",
        into,
        sa.Column("image", sa.Integer(), nullable=False, comment="image that contains the layer"),
        sa.Column("position", sa.Integer(), nullable=False, comment="position in the image; 0 is the lowest layer"),
        sa.Column("layer", kind, nullable=False, comment="the layer" if compact else "digest of the layer"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name="fk_image_layer_image", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["layer"], [f"layer.{key}"], name="fk_image_layer_layer"),
        sa.PrimaryKeyConstraint("image", "position", name="pk_image_layer"),
        sqlite_with_rowid=not compact,
    )
    sa.Index("ix_image_layer_layer", layers.c.layer)


def _copy(connection: sa.Connection, table: sa.Table, *, compact: bool) -> str:
    """Return the statement that copies the rows of a table."""
    if table.name == "image_layer":
        return _copy_of_image_layers(connection, compact=compact)
    columns = [column.name for column in table.columns if (table.name, column.name) != ("layer", "id")]
    digests = _DIGESTS.get(table.name, ())
    values = [_digest(connection, name, compact=compact) if name in digests else name for name in columns]
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table.name} ({names}) SELECT {', '.join(values)} FROM old_{table.name}"  # noqa: S608


def _copy_of_image_layers(connection: sa.Connection, *, compact: bool) -> str:
    digest = _digest(connection, "old.layer" if compact else "old_layer.digest", compact=compact)
    value, other = ("layer.id", "layer") if compact else (digest, "old_layer")
    matches = f"layer.digest = {digest}" if compact else "old_layer.id = old.layer"
    return (
        f"INSERT INTO image_layer SELECT old.image, old.position, {value} "  # noqa: S608
        f"FROM old_image_layer AS old JOIN {other} ON {matches}"
    )


def _digest(connection: sa.Connection, column: str, *, compact: bool) -> str:
    """Return the expression that converts a digest, `sha256:` or `sha512:` and hexadecimal digits, to bytes or back."""
    is_sqlite = connection.dialect.name == "sqlite"
    if compact:
        return f"digest_bytes({column})" if is_sqlite else f"decode(substr({column}, 8), 'hex')"
    kind = f"CASE length({column}) WHEN 64 THEN 'sha512:' ELSE 'sha256:' END"
    return f"{kind} || " + (f"lower(hex({column}))" if is_sqlite else f"encode({column}, 'hex')")


def _type(*, compact: bool) -> sa.types.TypeEngine[str] | sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(64) if compact else sa.String(135)
