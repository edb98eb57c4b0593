"""Tables of remediation: acknowledged secrets, and the alerts that receivers have accepted.

Both are bounded by the findings of the store: one row for each secret and repository, or less.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, LargeBinary, String, Table, Text

from auditor.fleet.store.schema.columns import NAME, TIME, metadata, one_of

ALERT_EVENTS = ("open", "overdue")

acknowledgement = Table(
    "acknowledgement",
    metadata,
    Column("secret", LargeBinary(16), primary_key=True, comment="HMAC of the secret under secret_key"),
    Column("reason", Text, nullable=False, comment="reason, as the user gave it"),
    Column("author", NAME, nullable=False, comment="name of the person who acknowledged it"),
    Column("created", TIME, nullable=False, comment="time of the acknowledgement"),
    Column("until", String(10), comment="last day, YYYY-MM-DD; null for no end"),
    CheckConstraint("length(secret) = 16", "secret"),
)

acknowledged_repository = Table(
    "acknowledged_repository",
    metadata,
    Column(
        "secret",
        ForeignKey("acknowledgement.secret", ondelete="CASCADE"),
        primary_key=True,
        comment="acknowledged secret",
    ),
    Column(
        "repository",
        ForeignKey("repository.id", ondelete="CASCADE"),
        primary_key=True,
        comment="repository that held the secret at the time of the acknowledgement",
    ),
)

alert = Table(
    "alert",
    metadata,
    Column("receiver", LargeBinary(16), primary_key=True, comment="HMAC of the URL of the receiver under secret_key"),
    Column("secret", LargeBinary(16), primary_key=True, comment="HMAC of the secret under secret_key"),
    Column(
        "repository",
        ForeignKey("repository.id", ondelete="CASCADE"),
        primary_key=True,
        comment="repository that held the secret when the receiver accepted the alert",
    ),
    Column("event", String(7), nullable=False, comment="last event that the receiver accepted: open or overdue"),
    CheckConstraint("length(receiver) = 16", "receiver"),
    CheckConstraint("length(secret) = 16", "secret"),
    one_of("event", ALERT_EVENTS),
)
