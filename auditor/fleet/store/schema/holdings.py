"""What registries hold: repositories with their tags and images, what images hold, and the layers that they share."""

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
from auditor.fleet.store.schema.columns import DIGEST, NAME, metadata, number, one_of, span

repository = Table(
    "repository",
    metadata,
    number(),
    Column("host", NAME, nullable=False, comment="host and port of the registry"),
    Column("name", NAME, nullable=False, comment="without the host"),
    UniqueConstraint("host", "name"),
)

manifest = Table(
    "manifest",
    metadata,
    Column("digest", DIGEST, primary_key=True, comment="of an index or an image's manifest"),
    Column("created", String(40), comment="by the config of its first image; null where it says nothing"),
)

leaf = Table(
    "leaf",
    metadata,
    Column("manifest", ForeignKey("manifest.digest", ondelete="CASCADE"), primary_key=True, comment="that lists it"),
    Column("position", Integer, primary_key=True, comment="in the index, from 0"),
    Column("digest", DIGEST, nullable=False, comment="of the manifest of an image or an attestation"),
    Column("media_type", NAME, nullable=False, comment="as the index has it"),
    Column("size", BigInteger, comment="bytes of that manifest"),
    Column("platform", String(128), comment="os/architecture[/variant], by the index"),
    Column("subject", DIGEST, comment="of an attestation: the image it attests"),
    CheckConstraint("size >= 0", "size"),
)
Index("ix_leaf_digest", leaf.c.digest)

tag = Table(
    "tag",
    metadata,
    number(),
    Column("repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="that has the tag"),
    Column(
        "name",
        String(128),
        nullable=False,
        comment="the tag; of what was listed by its digest the start of that",
    ),
    Column(
        "manifest", ForeignKey("manifest.digest"), nullable=False, comment="what it named; a moved tag has two rows"
    ),
    *span("sweep that looked and did not find it any more; null while it is there"),
    UniqueConstraint("repository", "name", "manifest"),
)
Index("ix_tag_gone_in", tag.c.repository, tag.c.gone_in)

image = Table(
    "image",
    metadata,
    number(),
    Column("repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="that holds it"),
    Column("digest", DIGEST, nullable=False, comment="of its manifest"),
    Column("platform", String(128), comment="os/architecture[/variant]; null of an artifact"),
    Column(
        "audit", String(64), nullable=False, comment="SHA-256 of rules, code and selection that it was audited with"
    ),
    *span(),
    UniqueConstraint("repository", "digest"),
)

report = Table(
    "report",
    metadata,
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="that it is of"),
    Column("data", LargeBinary, nullable=False, comment="the masked JSON report, zlib"),
)

layer = Table(
    "layer",
    metadata,
    Column("digest", DIGEST, primary_key=True, comment="of the stored bytes, which were hashed"),
    Column("diff_id", DIGEST, nullable=False, comment="of what they unpack to, hashed as well"),
    Column("size", BigInteger, nullable=False, comment="bytes as stored"),
    Column("read_in", Integer, comment="last sweep that downloaded it"),
    CheckConstraint("size >= 0", "size"),
)

image_layer = Table(
    "image_layer",
    metadata,
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="that is made of it"),
    Column("position", Integer, primary_key=True, comment="0 is the base"),
    Column("layer", ForeignKey("layer.digest"), nullable=False, comment="the layer"),
)
Index("ix_image_layer_layer", image_layer.c.layer)

record = Table(
    "record",
    metadata,
    Column("key", String(64), primary_key=True, comment="SHA-256 of the layer's diff_id, the rules and the code"),
    Column("size", Integer, nullable=False, comment="bytes of data"),
    Column("used", BigInteger, nullable=False, comment="seconds since 1970: those not used for longest go first"),
    Column("data", LargeBinary, nullable=False, comment="what the layer holds, secrets sealed: auditor/scan/serial.py"),
    CheckConstraint("size = length(data)", "size"),
)
Index("ix_record_used", record.c.used, record.c.size)

finding = Table(
    "finding",
    metadata,
    number(),
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), nullable=False, comment="that holds it"),
    Column("finding", String(40), nullable=False, comment="the id in the report: the same over rebuilds of an image"),
    Column("rule", NAME, nullable=False, comment="id of the rule"),
    Column("name", Text, nullable=False, comment="of the rule"),
    Column("severity", String(8), nullable=False, comment="critical to low"),
    Column("confidence", String(8), nullable=False, comment="high to low"),
    Column("state", String(12), nullable=False, comment="what became of it in the image"),
    Column("path", Text, comment="of the file; null in metadata"),
    Column("place", Text, comment="in the metadata; null in a file"),
    Column("line", Integer, comment="from 1; null in binary data"),
    Column("masked", Text, nullable=False, comment="the secret, masked"),
    Column(
        "secret",
        LargeBinary(16),
        nullable=False,
        comment="HMAC of the secret under secret_key",
    ),
    Column("layer", DIGEST, comment="that brought it in; null in metadata"),
    Column("added_in", Integer, comment="position of the first layer that holds it"),
    Column("hidden_in", Integer, comment="position of the layer that hides it; null while present"),
    Column("held", Boolean, nullable=False, comment="whether the last audit of the image found it"),
    *span(),
    UniqueConstraint("image", "finding"),
    one_of("severity", Severity),
    one_of("confidence", Confidence),
    one_of("state", State),
    CheckConstraint("length(secret) = 16", "secret"),
    CheckConstraint("(path IS NULL) <> (place IS NULL)", "somewhere"),
)
Index("ix_finding_secret", finding.c.secret)
Index("ix_finding_layer", finding.c.layer)
Index("ix_finding_gone_in", finding.c.gone_in)
