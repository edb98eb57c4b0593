"""Tables of registry contents: repositories, tags, images, layers and findings."""

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
    UniqueConstraint,
)

from auditor.core.finding import Confidence, Severity, State
from auditor.fleet.store.schema.columns import DIGEST, LAYER_IDS, NAME, metadata, number, one_of, presence_interval

repository = Table(
    "repository",
    metadata,
    number(),
    Column("host", NAME, nullable=False, comment="host and port of the registry"),
    Column("name", NAME, nullable=False, comment="repository name without the host"),
    Column("observation", Integer, comment="id of its newest observation; null before the first"),
    UniqueConstraint("host", "name"),
)

manifest = Table(
    "manifest",
    metadata,
    Column("digest", DIGEST, primary_key=True, comment="digest of an index or of an image manifest"),
    Column("created", String(40), comment="creation time in the config of its first image; null if missing"),
)

leaf = Table(
    "leaf",
    metadata,
    Column(
        "manifest",
        ForeignKey("manifest.digest", ondelete="CASCADE"),
        primary_key=True,
        comment="index that lists it, or the manifest itself",
    ),
    Column("position", Integer, primary_key=True, comment="position in the index, from 0"),
    Column("digest", DIGEST, nullable=False, comment="digest of an image or attestation manifest"),
    Column("media_type", NAME, nullable=False, comment="media type in the index"),
    Column("size", BigInteger, comment="size of that manifest in bytes"),
    Column("platform", String(128), comment="os/architecture[/variant] in the index"),
    Column("subject", String(135), comment="for an attestation: digest of the attested image"),
    CheckConstraint("size >= 0", "size"),
)
Index("ix_leaf_digest", leaf.c.digest)

tag = Table(
    "tag",
    metadata,
    number(),
    Column(
        "repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="repository of the tag"
    ),
    Column(
        "name",
        String(128),
        nullable=False,
        comment="tag, or start of the digest if the image was listed by digest",
    ),
    Column(
        "manifest",
        ForeignKey("manifest.digest"),
        nullable=False,
        comment="manifest named by the tag; a moved tag has two rows",
    ),
    *presence_interval("first sweep that did not find it; null while present", with_time=False),
    UniqueConstraint("manifest", "repository", "name"),
)
Index("ix_tag_absent_since", tag.c.repository, tag.c.absent_since)

image = Table(
    "image",
    metadata,
    number(),
    Column(
        "repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="repository of the image"
    ),
    Column("digest", DIGEST, nullable=False, comment="digest of the manifest"),
    Column("platform", String(128), comment="os/architecture[/variant]; null for an artifact"),
    Column("audit_key", String(64), nullable=False, comment="SHA-256 of the rules, code and selection of the audit"),
    Column("layers", LAYER_IDS, comment="ids of its layers, the lowest first, 4 bytes each"),
    Column("skipped", Integer, nullable=False, server_default="0", comment="items of it that were not read"),
    *presence_interval(),
    UniqueConstraint("repository", "digest"),
)

report = Table(
    "report",
    metadata,
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="image of the report"),
    Column("data", LargeBinary, nullable=False, comment="masked JSON report, compressed with zlib"),
)

layer = Table(
    "layer",
    metadata,
    number(),
    Column("digest", DIGEST, nullable=False, comment="digest of the stored bytes, verified"),
    Column("diff_id", DIGEST, nullable=False, comment="digest of the uncompressed bytes, verified"),
    Column("size", BigInteger, nullable=False, comment="stored size in bytes"),
    Column("read_in", Integer, comment="last sweep that downloaded it"),
    CheckConstraint("size >= 0", "size"),
    UniqueConstraint("digest"),
)

record = Table(
    "record",
    metadata,
    Column("key", String(64), primary_key=True, comment="SHA-256 of the layer's diff_id, the rules and the code"),
    Column("size", Integer, nullable=False, comment="size of data in bytes"),
    Column(
        "used",
        BigInteger,
        nullable=False,
        comment="last use, in seconds since 1970; least recently used records are deleted first",
    ),
    Column(
        "data", LargeBinary, nullable=False, comment="MAC and layer record; secrets as HMACs: auditor/scan/serial.py"
    ),
    CheckConstraint("size = length(data)", "size"),
)
Index("ix_record_used", record.c.used, record.c.size)

finding = Table(
    "finding",
    metadata,
    number(),
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), nullable=False, comment="image that holds the finding"),
    Column("finding", String(40), nullable=False, comment="finding id of the report; rebuilds of an image keep it"),
    Column("rule", NAME, nullable=False, comment="rule id"),
    Column("name", Text, nullable=False, comment="rule name"),
    Column("severity", String(8), nullable=False, comment="critical to low"),
    Column("confidence", String(8), nullable=False, comment="high to low"),
    Column("state", String(12), nullable=False, comment="deleted, overwritten, present or metadata"),
    Column("path", Text, comment="file path; null in metadata"),
    Column("metadata_location", Text, comment="location in the metadata; null in a file"),
    Column("line", Integer, comment="line number from 1; null in binary data"),
    Column("masked", Text, nullable=False, comment="masked secret"),
    Column(
        "secret",
        LargeBinary(16),
        nullable=False,
        comment="HMAC of the secret under secret_key",
    ),
    Column("layer", DIGEST, comment="digest of the layer that added it; null in metadata"),
    Column("added_in", Integer, comment="position of the layer that added it"),
    Column("hidden_in", Integer, comment="position of the layer that hides it; null while present"),
    Column("reported", Boolean, nullable=False, comment="whether the last audit of the image reported it"),
    *presence_interval(),
    UniqueConstraint("image", "finding"),
    one_of("severity", Severity),
    one_of("confidence", Confidence),
    one_of("state", State),
    CheckConstraint("length(secret) = 16", "secret"),
    CheckConstraint("(path IS NULL) <> (metadata_location IS NULL)", "somewhere"),
)
Index("ix_finding_secret", finding.c.secret, finding.c.image)
Index("ix_finding_layer", finding.c.layer)
Index("ix_finding_absent_since", finding.c.absent_since)
