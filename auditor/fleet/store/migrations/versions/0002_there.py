"""What is there and what is gone, by what was looked at; what a sweep saw; leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_GONE = "sweep that looked and did not find it any more; null while it is there"
_SINCE = "sweep from which on it was {} without a gap"
_SPANS = ("tag", "image", "finding")
_OF = {
    "tag": "FROM repository WHERE repository.id = tag.repository",
    "image": "FROM repository WHERE repository.id = image.repository",
    "finding": "FROM repository JOIN image ON image.repository = repository.id WHERE image.id = finding.image",
}


def upgrade() -> None:
    """Bring it in."""
    for table in _SPANS:
        # SQLite takes a constraint with its column alone.
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN gone_in INTEGER CONSTRAINT ck_{table}_gone CHECK (since <= gone_in)"
        )
        # What the sweeps that last went through a repository did not see is gone from it since one of them.
        last, before = (f"(SELECT {column} {_OF[table]})" for column in ("last_sweep", "previous_sweep"))
        op.execute(
            f"UPDATE {table} SET gone_in = CASE WHEN last_seen < {before} THEN {before} ELSE {last} END "  # noqa: S608 - names of our own
            f"WHERE last_seen < {last}"
        )
        _comment(table, "gone_in", _GONE)
        _comment(table, "since", _SINCE.format("there"))
    op.drop_index("ix_tag_last_seen", table_name="tag")
    op.drop_index("ix_image_last_seen", table_name="image")
    op.create_index("ix_tag_gone_in", "tag", ["repository", "gone_in"], unique=False)
    op.create_index("ix_finding_gone_in", "finding", ["gone_in"], unique=False)
    _comment("manifest", "digest", "of an index or an image's manifest")
    _comment("tag", "name", "the tag; of what was listed by its digest the start of that")
    op.drop_column("repository", "last_sweep")
    op.drop_column("repository", "previous_sweep")
    choice = "options that left out a part, as the user wrote them; null where none did"
    op.add_column("sweep", sa.Column("choice", sa.Text(), nullable=True, comment=choice))
    for kind in ("image", "tag"):
        _seen(kind)
    _lease()


def _seen(kind: str) -> None:
    table = f"seen_{kind}"
    op.create_table(
        table,
        sa.Column("sweep", sa.Integer(), nullable=False, comment="that saw it"),
        sa.Column(kind, sa.Integer(), nullable=False, comment="what it saw"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f(f"fk_{table}_sweep"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint([kind], [f"{kind}.id"], name=op.f(f"fk_{table}_{kind}"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", kind, name=op.f(f"pk_{table}")),
    )
    op.create_index(f"ix_{table}_{kind}", table, [kind], unique=False)
    op.execute(
        f"INSERT INTO {table} (sweep, {kind}) SELECT {kind}.last_seen, {kind}.id FROM {kind} "  # noqa: S608 - names of our own
        f"JOIN sweep ON sweep.id = {kind}.last_seen"
    )


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=80), nullable=False, comment="what one process at a time does: lease.py"),
        sa.Column("token", sa.String(length=32), nullable=False, comment="drawn by whoever holds it"),
        sa.Column("holder", sa.String(length=255), nullable=False, comment="host and process, for people"),
        sa.Column("machine", sa.String(length=64), nullable=False, comment="SHA-256 of what tells machines apart"),
        sa.Column(
            "process",
            sa.String(length=40),
            nullable=False,
            comment="number and start of the process there; empty if unknown",
        ),
        sa.Column("since", sa.String(length=20), nullable=False, comment="when it was taken"),
        sa.Column("ends", sa.BigInteger(), nullable=False, comment="seconds since 1970 by the database's clock"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )


def _comment(table: str, column: str, text: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        quoted = text.replace("'", "''")
        op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{quoted}'")


def downgrade() -> None:
    """Take it back; of each repository, the last sweep that saw something counts as the last one."""
    for table in ("lease", "seen_tag", "seen_image"):
        op.drop_table(table)
    op.drop_column("sweep", "choice")
    for column, text in (
        ("last_sweep", "last finished sweep that went through it; null before"),
        ("previous_sweep", "the one before: what is new is new since then"),
    ):
        op.add_column("repository", sa.Column(column, sa.Integer(), nullable=True, comment=text))
    for column, below in (("last_sweep", ""), ("previous_sweep", " AND image.last_seen < repository.last_sweep")):
        op.execute(
            f"UPDATE repository SET {column} = (SELECT max(image.last_seen) FROM image "  # noqa: S608 - names of our own
            f"WHERE image.repository = repository.id{below})"
        )
    op.drop_index("ix_tag_gone_in", table_name="tag")
    op.drop_index("ix_finding_gone_in", table_name="finding")
    op.create_index("ix_tag_last_seen", "tag", ["repository", "last_seen"], unique=False)
    op.create_index("ix_image_last_seen", "image", ["last_seen"], unique=False)
    _comment("tag", "name", "the tag")
    _comment("manifest", "digest", "of what a tag names: an index or an image's manifest")
    for table in _SPANS:
        op.drop_column(table, "gone_in")
        _comment(table, "since", _SINCE.format("seen"))
