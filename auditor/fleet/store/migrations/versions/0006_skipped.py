"""Items of images that were not read, and images of a sweep that were not read in full.

Manifests in which attestations were found are read again by the next sweep: some are images.

The items of stored images are counted in their reports. Old sweeps keep 0 images: their lists show them all the same.
"""

from __future__ import annotations

import json
import zlib

import sqlalchemy as sa
from alembic import op

revision = "0006_skipped"
down_revision = "0005_images_of_secrets"

_ROWS = 100
"""Reports read at a time."""


def upgrade() -> None:
    """Add the columns, and count the items of stored images."""
    op.add_column("sweep", _count("partial", "images that can be pulled and were not read in full"))
    op.add_column("sweep", _count("attached", "tags of signatures, attestations and SBOMs"))
    op.add_column("image", _count("skipped", "items of it that were not read"))
    op.execute("DELETE FROM leaf WHERE manifest IN (SELECT manifest FROM leaf WHERE subject IS NOT NULL)")
    connection = op.get_bind()
    image = sa.table("image", sa.column("id"), sa.column("skipped"))
    report = sa.table("report", sa.column("image"), sa.column("data"))
    update = sa.update(image).where(image.c.id == sa.bindparam("own"))
    images = list(connection.execute(sa.select(report.c.image)).scalars())
    for start in range(0, len(images), _ROWS):
        rows = connection.execute(sa.select(report).where(report.c.image.in_(images[start : start + _ROWS])))
        connection.execute(update, [{"own": row.image, "skipped": _skipped(row.data)} for row in rows])


def downgrade() -> None:
    """Remove the columns."""
    op.drop_column("image", "skipped")
    op.drop_column("sweep", "attached")
    op.drop_column("sweep", "partial")


def _count(name: str, comment: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default="0", comment=comment)


def _skipped(data: bytes) -> int:
    return len(json.loads(zlib.decompress(data)).get("skipped", ()))
