"""Images that no tag names any more: they are gone once their digest is deleted, and not before.

Earlier versions took an image as gone when its last tag moved or was deleted, and a finding when other rules no longer
matched it. Whether the digests were deleted is not known: the next sweep asks. So nothing is gone until then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_GONE = "sweep that looked and did not find it any more; null while it is there"
_DELETED = "sweep that found it deleted; null while it may be pulled"


def upgrade() -> None:
    """Bring it in."""
    op.create_table(
        "withdrawn",
        sa.Column("sweep", sa.Integer(), nullable=False, comment="that looked for it"),
        sa.Column("image", sa.Integer(), nullable=False, comment="that no tag names any more"),
        sa.Column(
            "pullable",
            sa.Boolean(),
            nullable=True,
            comment="what a HEAD of its digest said; null: not answered",
        ),
        sa.Column("tags", sa.Text(), nullable=False, comment="the last tags that named it, as a JSON list"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_withdrawn_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_withdrawn_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "image", name=op.f("pk_withdrawn")),
    )
    op.create_index("ix_withdrawn_image", "withdrawn", ["image"], unique=False)
    counted = "images that no tag names any more, and that are not known to be deleted"
    op.add_column("sweep", sa.Column("withdrawn", sa.Integer(), nullable=False, server_default="0", comment=counted))
    for table in ("image", "finding"):
        op.execute(f"UPDATE {table} SET gone_in = NULL")  # noqa: S608 - names of our own
        _comment(table, _DELETED)
    op.execute("UPDATE sweep SET gone = 0")


def _comment(table: str, text: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON COLUMN {table}.gone_in IS '{text}'")


def downgrade() -> None:
    """Take it back."""
    for table in ("image", "finding"):
        _comment(table, _GONE)
    op.drop_column("sweep", "withdrawn")
    op.drop_table("withdrawn")
