"""Tables of sweeps: counts, observed tags and images, failures; leases; the HMAC key of secrets."""

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
    Column("one", Integer, primary_key=True, comment="always 1: the table has one row"),
    Column(
        "bytes",
        LargeBinary(32),
        nullable=False,
        comment="HMAC key of secrets: identifies equal secrets; required to test guesses",
    ),
    CheckConstraint("one = 1", "one"),
    CheckConstraint("length(bytes) = 32", "bytes"),
)

sweep = Table(
    "sweep",
    metadata,
    number(),
    Column("registry", NAME, nullable=False, comment="HOST[/PREFIX]"),
    Column(
        "scope",
        String(64),
        nullable=False,
        comment="SHA-256 of registry, filter and platform: identifies a killed sweep that continues",
    ),
    Column("filter_text", Text, comment="options that exclude a part of the registry, as written; null if none"),
    Column("started", TIME, nullable=False, comment="first start"),
    Column("finished", TIME, comment="end; null while the sweep runs or if it was killed"),
    Column("ruleset", String(71), nullable=False, comment="digest of the rules"),
    Column("repositories", Integer, nullable=False, server_default="0", comment="repositories with an audited image"),
    Column(
        "images", Integer, nullable=False, server_default="0", comment="audited images, one per platform and digest"
    ),
    Column("tags", Integer, nullable=False, server_default="0", comment="tags of those images"),
    *(
        Column(str(severity), Integer, nullable=False, server_default="0", comment="findings of this severity")
        for severity in Severity
    ),
    Column("secrets", Integer, nullable=False, server_default="0", comment="distinct secrets"),
    Column("new", Integer, nullable=False, server_default="0", comment="findings new in their repository"),
    Column("gone", Integer, nullable=False, server_default="0", comment="findings gone from their repository"),
    Column("failed", Integer, nullable=False, server_default="0", comment="references that were not audited"),
    Column("layers_unique", Integer, nullable=False, server_default="0", comment="distinct layers of the images"),
    Column("layers_read", Integer, nullable=False, server_default="0", comment="downloaded layers"),
    Column(
        "bytes_read", BigInteger, nullable=False, server_default="0", comment="stored size of the downloaded layers"
    ),
    Column(
        "withdrawn",
        Integer,
        nullable=False,
        server_default="0",
        comment="images without a tag that are not deleted",
    ),
    Column(
        "partial",
        Integer,
        nullable=False,
        server_default="0",
        comment="images that can be pulled and were not read in full",
    ),
    Column(
        "attached", Integer, nullable=False, server_default="0", comment="tags of signatures, attestations and SBOMs"
    ),
    CheckConstraint("finished IS NULL OR finished >= started", "order"),
)
Index("ix_sweep_registry", sweep.c.registry, sweep.c.finished)

failure = Table(
    "failure",
    metadata,
    Column(
        "sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="sweep that failed to audit it"
    ),
    Column("reference", String(512), primary_key=True, comment="repository, repository:tag or repository@digest"),
    Column("reason", Text, nullable=False, comment="reason in one line"),
)

observation = Table(
    "observation",
    metadata,
    number(),
    Column(
        "repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="observed repository"
    ),
    Column(
        "names",
        LargeBinary(16),
        comment="digest of filter, rules, options and the names of the tags; null if the next sweep audits again",
    ),
    Column("digests", LargeBinary(16), comment="digest of the manifests that the tags name; null with names"),
    Column("attached", Integer, nullable=False, comment="tags of signatures, attestations and SBOMs"),
    Column("has_withdrawn", Boolean, nullable=False, comment="whether images without a tag were left"),
    CheckConstraint("(names IS NULL) = (digests IS NULL)", "state"),
)
Index("ix_observation_repository", observation.c.repository)

observed_tag = Table(
    "observed_tag",
    metadata,
    Column(
        "observation", ForeignKey("observation.id", ondelete="CASCADE"), primary_key=True, comment="the observation"
    ),
    Column("tag", Integer, primary_key=True, comment="id of a tag that the filter selects"),
)

observed_image = Table(
    "observed_image",
    metadata,
    Column(
        "observation", ForeignKey("observation.id", ondelete="CASCADE"), primary_key=True, comment="the observation"
    ),
    Column("image", Integer, primary_key=True, comment="id of an audited image"),
)

seen = Table(
    "seen",
    metadata,
    Column("sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="the sweep"),
    Column(
        "observation",
        ForeignKey("observation.id", ondelete="CASCADE"),
        primary_key=True,
        comment="observation of a repository, perhaps made by an earlier sweep",
    ),
)
Index("ix_seen_observation", seen.c.observation)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("sweep", ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True, comment="the sweep"),
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="image without a tag"),
    Column("pullable", Boolean, comment="whether a HEAD request found the digest; null without an answer"),
    Column("tags", Text, nullable=False, comment="last tags of the image, as a JSON list"),
)
Index("ix_withdrawn_image", withdrawn.c.image)

lease = Table(
    "lease",
    metadata,
    Column("name", String(80), primary_key=True, comment="lease name: see lease.py"),
    Column("token", String(32), nullable=False, comment="random token of the holder"),
    Column("holder", NAME, nullable=False, comment="host and process, for messages"),
    Column("machine", String(64), nullable=False, comment="SHA-256 of boot id and PID namespace"),
    Column(
        "process", String(40), nullable=False, comment="process id and start time on that machine; empty if unknown"
    ),
    Column("acquired", TIME, nullable=False, comment="time of acquisition"),
    Column(
        "expires",
        BigInteger,
        nullable=False,
        comment="end of the term, in seconds since 1970 by the clock of the database",
    ),
)
