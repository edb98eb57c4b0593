"""Tables of remediation: acknowledged secrets, and the alerts that receivers have accepted; tags by manifest."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002_remediation"
down_revision = "0001_sweeps"


def _column(name: str, kind: Any, comment: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, comment=comment, **{"nullable": False, **more})


def _secret(comment: str) -> sa.Column[Any]:
    return _column("secret", sa.LargeBinary(length=16), comment)


def upgrade() -> None:
    """Create the tables, each after those that it refers to, and the index."""
    op.create_index("ix_tag_manifest", "tag", ["manifest"], unique=False)
    op.create_table(
        "acknowledgement",
        _secret("HMAC of the secret under secret_key"),
        _column("reason", sa.Text(), "reason, as the user gave it"),
        _column("author", sa.String(length=255), "name of the person who acknowledged it"),
        _column("created", sa.String(length=20), "time of the acknowledgement"),
        _column("until", sa.String(length=10), "last day, YYYY-MM-DD; null for no end", nullable=True),
        sa.CheckConstraint("length(secret) = 16", name=op.f("ck_acknowledgement_secret")),
        sa.PrimaryKeyConstraint("secret", name=op.f("pk_acknowledgement")),
    )
    op.create_table(
        "acknowledged_repository",
        _secret("acknowledged secret"),
        _column("repository", sa.Integer(), "repository that held the secret at the time of the acknowledgement"),
        sa.ForeignKeyConstraint(
            ["repository"],
            ["repository.id"],
            name=op.f("fk_acknowledged_repository_repository"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["secret"],
            ["acknowledgement.secret"],
            name=op.f("fk_acknowledged_repository_secret"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("secret", "repository", name=op.f("pk_acknowledged_repository")),
    )
    op.create_table(
        "alert",
        _column("receiver", sa.LargeBinary(length=16), "HMAC of the URL of the receiver under secret_key"),
        _secret("HMAC of the secret under secret_key"),
        _column("repository", sa.Integer(), "repository that held the secret when the receiver accepted the alert"),
        _column("event", sa.String(length=7), "last event that the receiver accepted: open or overdue"),
        sa.CheckConstraint("event IN ('open', 'overdue')", name=op.f("ck_alert_event")),
        sa.CheckConstraint("length(receiver) = 16", name=op.f("ck_alert_receiver")),
        sa.CheckConstraint("length(secret) = 16", name=op.f("ck_alert_secret")),
        sa.ForeignKeyConstraint(
            ["repository"], ["repository.id"], name=op.f("fk_alert_repository"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("receiver", "secret", "repository", name=op.f("pk_alert")),
    )


def downgrade() -> None:
    """Drop the tables, in reverse order, and the index."""
    op.drop_index("ix_tag_manifest", table_name="tag")
    for table in ("alert", "acknowledged_repository", "acknowledgement"):
        op.drop_table(table)
