"""Images in the index of secrets: a look-up of a secret reads no finding to find its images."""

from __future__ import annotations

from alembic import op

revision = "0005_images_of_secrets"
down_revision = "0004_observations"


def upgrade() -> None:
    """Create the index again, with images."""
    _create_index("secret", "image")


def downgrade() -> None:
    """Create the index again, without images."""
    _create_index("secret")


def _create_index(*columns: str) -> None:
    op.drop_index("ix_finding_secret", table_name="finding")
    op.create_index("ix_finding_secret", "finding", list(columns), unique=False)
