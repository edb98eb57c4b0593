"""Observations of repositories, shared by sweeps, instead of rows for each sweep; layers of an image in one column.

Tags lose the time of their first sight, which nothing shows, and tags and leaves an index each.
Signatures, attestations and SBOMs that were audited as images are deleted: no sweep looks for them any more.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004_observations"
down_revision = "0003_compact_rows"

_ROWS = 1_000
"""Rows written at a time."""

_NAMED = """
SELECT tag.repository, leaf.digest FROM tag JOIN leaf ON leaf.manifest = tag.manifest
WHERE {0} (tag.name LIKE 'sha256-%')
"""
_DELETE_ATTACHED = """
DELETE FROM image WHERE id IN (
    SELECT image.id FROM image JOIN ({attached}) AS attached
    ON attached.repository = image.repository AND attached.digest = image.digest
) AND id NOT IN (
    SELECT image.id FROM image JOIN ({named}) AS named
    ON named.repository = image.repository AND named.digest = image.digest
)
"""
_FORGET_ATTACHED = "DELETE FROM leaf WHERE manifest IN (SELECT manifest FROM tag WHERE name LIKE 'sha256-%')"
"""The next sweep reads these manifests again, and stores which of them are no images."""

_MOVED = """
CREATE TEMPORARY TABLE moved AS
SELECT row_number() OVER (ORDER BY sweep, repository) AS id, sweep, repository FROM (
    SELECT seen_image.sweep, image.repository FROM seen_image JOIN image ON image.id = seen_image.image
    UNION SELECT seen_tag.sweep, tag.repository FROM seen_tag JOIN tag ON tag.id = seen_tag.tag
) AS pairs
"""
_OBSERVED = """
INSERT INTO observed_{0} SELECT moved.id, {0}.id FROM seen_{0}
JOIN {0} ON {0}.id = seen_{0}.{0} JOIN moved ON moved.sweep = seen_{0}.sweep AND moved.repository = {0}.repository
"""
_SEEN = """
INSERT INTO seen_{0} SELECT seen.sweep, {0}.id FROM seen
JOIN observed_{0} ON observed_{0}.observation = seen.observation JOIN {0} ON {0}.id = observed_{0}.{0}
"""


def upgrade() -> None:
    """Create the tables and columns, and move the rows."""
    op.execute(_DELETE_ATTACHED.format(attached=_NAMED.format(""), named=_NAMED.format("NOT")))
    op.execute(_FORGET_ATTACHED)
    _create_observations()
    op.add_column(
        "repository",
        sa.Column("observation", sa.Integer(), comment="id of its newest observation; null before the first"),
    )
    op.add_column(
        "image", sa.Column("layers", sa.LargeBinary(), comment="ids of its layers, the lowest first, 4 bytes each")
    )
    connection = op.get_bind()
    _pack_layers(connection)
    op.execute(_MOVED)
    op.execute("INSERT INTO observation SELECT id, repository, NULL, NULL, 0, false FROM moved")
    op.execute("INSERT INTO seen SELECT sweep, id FROM moved")
    for name in ("image", "tag"):
        op.execute(_OBSERVED.format(name))
    if connection.dialect.name == "postgresql":
        op.execute("SELECT setval(pg_get_serial_sequence('observation', 'id'), max(id)) FROM moved")
    for name in ("moved", "image_layer", "seen_image", "seen_tag"):
        op.drop_table(name)
    _rebuild_tags(compact=True)
    op.drop_index("ix_leaf_digest", table_name="leaf")
    op.execute("CREATE INDEX ix_leaf_digest ON leaf (digest) WHERE digest <> manifest")


def downgrade() -> None:
    """Create the former tables, and move the rows back."""
    _rebuild_tags(compact=False)
    op.drop_index("ix_leaf_digest", table_name="leaf")
    op.create_index("ix_leaf_digest", "leaf", ["digest"], unique=False)
    _create_former()
    _unpack_layers(op.get_bind())
    for name in ("image", "tag"):
        op.execute(_SEEN.format(name))
    for name in ("seen", "observed_image", "observed_tag", "observation"):
        op.drop_table(name)
    op.drop_column("image", "layers")
    op.drop_column("repository", "observation")


def _create_observations() -> None:
    op.create_table(
        "observation",
        _id("id", "assigned by the database"),
        _id("repository", "observed repository"),
        sa.Column(
            "names",
            sa.LargeBinary(16),
            comment="digest of filter, rules, options and the names of the tags; null if the next sweep audits again",
        ),
        sa.Column("digests", sa.LargeBinary(16), comment="digest of the manifests that the tags name; null with names"),
        _id("attached", "tags of signatures, attestations and SBOMs"),
        sa.Column("has_withdrawn", sa.Boolean(), nullable=False, comment="whether images without a tag were left"),
        sa.CheckConstraint("(names IS NULL) = (digests IS NULL)", name=op.f("ck_observation_state")),
        _refers("observation", "repository"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
    )
    op.create_index("ix_observation_repository", "observation", ["repository"], unique=False)
    for name, comment in (("tag", "id of a tag that the filter selects"), ("image", "id of an audited image")):
        op.create_table(
            f"observed_{name}",
            _id("observation", "the observation"),
            _id(name, comment),
            _refers(f"observed_{name}", "observation"),
            sa.PrimaryKeyConstraint("observation", name, name=op.f(f"pk_observed_{name}")),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "seen",
        _id("sweep", "the sweep"),
        _id("observation", "observation of a repository, perhaps made by an earlier sweep"),
        _refers("seen", "sweep"),
        _refers("seen", "observation"),
        sa.PrimaryKeyConstraint("sweep", "observation", name=op.f("pk_seen")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_seen_observation", "seen", ["observation"], unique=False)


def _create_former() -> None:
    op.create_table(
        "image_layer",
        _id("image", "image that contains the layer"),
        _id("position", "position in the image; 0 is the lowest layer"),
        _id("layer", "the layer"),
        _refers("image_layer", "image"),
        sa.ForeignKeyConstraint(["layer"], ["layer.id"], name=op.f("fk_image_layer_layer")),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_layer")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_image_layer_layer", "image_layer", ["layer"], unique=False)
    for name in ("image", "tag"):
        op.create_table(
            f"seen_{name}",
            _id("sweep", "the sweep"),
            _id(name, "observed row"),
            _refers(f"seen_{name}", "sweep"),
            _refers(f"seen_{name}", name),
            sa.PrimaryKeyConstraint("sweep", name, name=op.f(f"pk_seen_{name}")),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_seen_{name}_{name}", f"seen_{name}", [name], unique=False)


def _id(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False, comment=comment)


def _refers(table: str, name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([name], [f"{name}.id"], name=op.f(f"fk_{table}_{name}"), ondelete="CASCADE")


def _rebuild_tags(*, compact: bool) -> None:
    """Create the table of tags again, and copy its rows. SQLite can't change a constraint in place."""
    columns = "id, repository, name, manifest, present_since, last_seen, absent_since"
    op.execute(f"CREATE TEMPORARY TABLE old_tag AS SELECT {columns} FROM tag")  # noqa: S608
    op.drop_table("tag")
    first_seen = sa.Column("first_seen", sa.String(20), nullable=False, comment="start of the first sweep that saw it")
    key = ("manifest", "repository", "name") if compact else ("repository", "name", "manifest")
    op.create_table(
        "tag",
        _id("id", "assigned by the database"),
        _id("repository", "repository of the tag"),
        sa.Column(
            "name",
            sa.String(128),
            nullable=False,
            comment="tag, or start of the digest if the image was listed by digest",
        ),
        sa.Column(
            "manifest",
            sa.LargeBinary(64),
            nullable=False,
            comment="manifest named by the tag; a moved tag has two rows",
        ),
        *(() if compact else (first_seen,)),
        _id("present_since", "first sweep of the current presence interval"),
        _id("last_seen", "last sweep that saw it"),
        sa.Column("absent_since", sa.Integer(), comment="first sweep that did not find it; null while present"),
        sa.CheckConstraint("present_since <= absent_since", name=op.f("ck_tag_absent_since")),
        sa.CheckConstraint("present_since <= last_seen", name=op.f("ck_tag_last_seen")),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.digest"], name=op.f("fk_tag_manifest")),
        _refers("tag", "repository"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        sa.UniqueConstraint(*key, name=op.f(f"uq_tag_{key[0]}")),
    )
    op.create_index("ix_tag_absent_since", "tag", ["repository", "absent_since"], unique=False)
    if not compact:
        op.create_index("ix_tag_manifest", "tag", ["manifest"], unique=False)
    into, values = (columns, columns) if compact else (f"{columns}, first_seen", f"{columns}, ''")
    op.execute(f"INSERT INTO tag ({into}) SELECT {values} FROM old_tag")  # noqa: S608
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT setval(pg_get_serial_sequence('tag', 'id'), max(id)) FROM tag")
    op.drop_table("old_tag")


def _pack_layers(connection: sa.Connection) -> None:
    rows = connection.execute(sa.text("SELECT image, layer FROM image_layer ORDER BY image, position")).all()
    images = (
        {"image": image, "layers": b"".join(struct.pack(">I", layer) for _, layer in own)}
        for image, own in itertools.groupby(rows, key=lambda row: row[0])
    )
    _write(connection, "UPDATE image SET layers = :layers WHERE id = :image", images)


def _unpack_layers(connection: sa.Connection) -> None:
    rows = connection.execute(sa.text("SELECT id, layers FROM image WHERE layers IS NOT NULL")).all()
    layers = (
        {"image": image, "position": position, "layer": layer}
        for image, packed in rows
        for position, (layer,) in enumerate(struct.iter_unpack(">I", packed))
    )
    _write(connection, "INSERT INTO image_layer VALUES (:image, :position, :layer)", layers)


def _write(connection: sa.Connection, statement: str, rows: Iterator[dict[str, Any]]) -> None:
    while batch := list(itertools.islice(rows, _ROWS)):
        connection.execute(sa.text(statement), batch)
