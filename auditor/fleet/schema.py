"""The tables of the store. Times are RFC 3339 in UTC, to the second; sweeps are numbered upwards.

    repository ─┬─ tag ─────── manifest ── leaf          what a tag named, and which images that holds
                └─ image ─┬─ finding, report             what an image holds, and since when
                          └─ image_layer ── layer ── record
    sweep ── failure

Something is *held* at a sweep N when since <= N <= last_seen: `since` starts anew where it was gone in between, and
`first_seen` does not. No column holds a secret: `secret` is an HMAC under the store's own key, texts are masked.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from auditor.model import Confidence, Severity, State

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)
_DIGEST = String(135)  # sha512 and its name
_NAME = String(255)
_TIME = String(20)


def _one_of(column: str, values: Any) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", column)


def _number() -> Column[int]:
    return Column("id", Integer, primary_key=True, comment="given by the store")


def _span() -> tuple[Column[Any], ...]:
    """When a row was seen: see the module."""
    return (
        Column("first_seen", _TIME, nullable=False, comment="start of the first sweep that saw it"),
        Column("since", Integer, nullable=False, comment="sweep from which on it was seen without a gap"),
        Column("last_seen", Integer, nullable=False, comment="last sweep that saw it"),
    )


def _ordered() -> CheckConstraint:
    return CheckConstraint("since <= last_seen", "span")


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
    _number(),
    Column("registry", _NAME, nullable=False, comment="HOST[/PREFIX] as it was asked for"),
    Column("scope", String(64), nullable=False, comment="SHA-256 of what was asked for: a killed sweep goes on by it"),
    Column("started", _TIME, nullable=False, comment="when it began, at first"),
    Column("finished", _TIME, comment="when it ended; null while it runs, or was killed"),
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

repository = Table(
    "repository",
    metadata,
    _number(),
    Column("host", _NAME, nullable=False, comment="host and port of the registry"),
    Column("name", _NAME, nullable=False, comment="without the host"),
    Column("last_sweep", Integer, comment="last finished sweep that went through it; null before"),
    Column("previous_sweep", Integer, comment="the one before: what is new is new since then"),
    UniqueConstraint("host", "name"),
)

manifest = Table(
    "manifest",
    metadata,
    Column("digest", _DIGEST, primary_key=True, comment="of what a tag names: an index or an image's manifest"),
    Column("created", String(40), comment="by the config of its first image; null where it says nothing"),
)

leaf = Table(
    "leaf",
    metadata,
    Column("manifest", ForeignKey("manifest.digest", ondelete="CASCADE"), primary_key=True, comment="that lists it"),
    Column("position", Integer, primary_key=True, comment="in the index, from 0"),
    Column("digest", _DIGEST, nullable=False, comment="of the manifest of an image or an attestation"),
    Column("media_type", _NAME, nullable=False, comment="as the index has it"),
    Column("size", BigInteger, comment="bytes of that manifest"),
    Column("platform", String(128), comment="os/architecture[/variant], by the index"),
    Column("subject", _DIGEST, comment="of an attestation: the image it attests"),
    CheckConstraint("size >= 0", "size"),
)
Index("ix_leaf_digest", leaf.c.digest)

tag = Table(
    "tag",
    metadata,
    _number(),
    Column("repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="that has the tag"),
    Column("name", String(128), nullable=False, comment="the tag"),
    Column(
        "manifest", ForeignKey("manifest.digest"), nullable=False, comment="what it named; a moved tag has two rows"
    ),
    *_span(),
    UniqueConstraint("repository", "name", "manifest"),
    _ordered(),
)
Index("ix_tag_last_seen", tag.c.repository, tag.c.last_seen)

image = Table(
    "image",
    metadata,
    _number(),
    Column("repository", ForeignKey("repository.id", ondelete="CASCADE"), nullable=False, comment="that holds it"),
    Column("digest", _DIGEST, nullable=False, comment="of its manifest"),
    Column("platform", String(128), comment="os/architecture[/variant]; null of an artifact"),
    Column(
        "audit", String(64), nullable=False, comment="SHA-256 of rules, code and selection that it was audited with"
    ),
    *_span(),
    UniqueConstraint("repository", "digest"),
    _ordered(),
)
Index("ix_image_last_seen", image.c.last_seen)

report = Table(
    "report",
    metadata,
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True, comment="that it is of"),
    Column("data", LargeBinary, nullable=False, comment="the masked JSON report, zlib"),
)

layer = Table(
    "layer",
    metadata,
    Column("digest", _DIGEST, primary_key=True, comment="of the stored bytes, which were hashed"),
    Column("diff_id", _DIGEST, nullable=False, comment="of what they unpack to, hashed as well"),
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
    _number(),
    Column("image", ForeignKey("image.id", ondelete="CASCADE"), nullable=False, comment="that holds it"),
    Column("finding", String(40), nullable=False, comment="the id in the report: the same over rebuilds of an image"),
    Column("rule", _NAME, nullable=False, comment="id of the rule"),
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
    Column("layer", _DIGEST, comment="that brought it in; null in metadata"),
    Column("added_in", Integer, comment="position of the first layer that holds it"),
    Column("hidden_in", Integer, comment="position of the layer that hides it; null while present"),
    Column("held", Boolean, nullable=False, comment="whether the last audit of the image found it"),
    *_span(),
    UniqueConstraint("image", "finding"),
    _one_of("severity", Severity),
    _one_of("confidence", Confidence),
    _one_of("state", State),
    CheckConstraint("length(secret) = 16", "secret"),
    CheckConstraint("(path IS NULL) <> (place IS NULL)", "somewhere"),
    _ordered(),
)
Index("ix_finding_secret", finding.c.secret)
Index("ix_finding_layer", finding.c.layer)
