"""The sweeps: their counts, what they saw and could not audit; leases; and the key that seals secrets."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from auditor.core.finding import Severity
from auditor.fleet.store.schema.columns import NAME, TIME, metadata, number

secret_key = Table(
    "secret_key",
    metadata,
    Column("one", Integer, primary_key=True, comment="1: there is one key"),
    Column(
        "bytes",
        LargeBinary(32),
        nullable=False,
        comment="HMAC key: equal secrets are known by it, and guesses can't be tested without it",
    ),
    CheckConstraint("one = 1", "one"),
    CheckConstraint("length(bytes) = 32", "bytes"),
)

sweep = Table(
    "sweep",
    metadata,
    number(),
    Column("registry", NAME, nullable=False, comment="HOST[/PREFIX] as it was asked for"),
    Column("scope", String(64), nullable=False, comment="SHA-256 of what was asked for: a killed sweep goes on by it"),
    Column("choice", Text, comment="options that left out a part, as the user wrote them; null where none did"),
    Column("started", TIME, nullable=False, comment="when it began, at first"),
    Column("finished", TIME, comment="when it ended; null while it runs, or was killed"),
    Column("ruleset", String(71), nullable=False, comment="digest of the rules"),
    Column("repositories", Integer, nullable=False, server_default="0", comment="that hold an image of it"),
    Column("images", Integer, nullable=False, server_default="0", comment="audited, one a platform and digest"),
    Column("tags", Integer, nullable=False, server_default="0", comment="that name one of the images"),
    *(
        Column(str(severity), Integer, nullable=False, server_default="0", comment="findings of that severity")
        for severity in Severity
    ),
    Column("secrets", Integer, nullable=False, server_default="0", comment="different secrets among the findings"),
    Column("new", Integer, nullable=False, server_default="0", comment="findings new in their repository"),
    Column("gone", Integer, nullable=False, server_default="0", comment="findings gone from their repository"),
    Column("failed", Integer, nullable=False, server_default="0", comment="references that were not audited"),
    Column("layers_unique", Integer, nullable=False, server_default="0", comment="different layers of all images"),
    Column("layers_read", Integer, nullable=False, server_default="0", comment="layers that were downloaded"),
    Column("bytes_read", BigInteger, nullable=False, server_default="0", comment="their size as stored"),
    Column(
        "withdrawn",
        Integer,
        nullable=False,
        server_default="0",
        comment="images that no tag names any more, and that are not known to be deleted",
    ),
    CheckConstraint("finished IS NULL OR finished >= started", "order"),
)
Index("ix_sweep_registry", sweep.c.registry, sweep.c.finished)

failure = Table(
    "failure",
    metadata,
    Column("sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="that met it"),
    Column("reference", String(512), primary_key=True, comment="repository, with a tag or digest where one failed"),
    Column("reason", Text, nullable=False, comment="one line"),
)

seen_image = Table(
    "seen_image",
    metadata,
    Column("sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="that saw it"),
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="what it saw"),
)
Index("ix_seen_image_image", seen_image.c.image)

seen_tag = Table(
    "seen_tag",
    metadata,
    Column("sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="that saw it"),
    Column("tag", ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True, comment="what it saw"),
)
Index("ix_seen_tag_tag", seen_tag.c.tag)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="that looked for it"),
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="that no tag names any more"),
    Column("pullable", Boolean, comment="what a HEAD of its digest said; null: not answered"),
    Column("tags", Text, nullable=False, comment="the last tags that named it, as a JSON list"),
)
Index("ix_withdrawn_image", withdrawn.c.image)

lease = Table(
    "lease",
    metadata,
    Column("name", String(80), primary_key=True, comment="what one process at a time does: lease.py"),
    Column("token", String(32), nullable=False, comment="drawn by whoever holds it"),
    Column("holder", NAME, nullable=False, comment="host and process, for people"),
    Column("machine", String(64), nullable=False, comment="SHA-256 of what tells machines apart"),
    Column("process", String(40), nullable=False, comment="number and start of the process there; empty if unknown"),
    Column("since", TIME, nullable=False, comment="when it was taken"),
    Column("ends", BigInteger, nullable=False, comment="seconds since 1970 by the database's clock"),
)
