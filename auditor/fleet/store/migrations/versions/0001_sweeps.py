"""Tables of the first release."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001_sweeps"
down_revision = None


def _column(name: str, kind: Any, comment: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, comment=comment, **{"nullable": False, **more})


def _count(name: str, comment: str) -> sa.Column[Any]:
    return _column(name, sa.Integer(), comment, server_default="0")


def _presence_interval(absent_comment: str) -> tuple[sa.Column[Any], ...]:
    return (
        _column("first_seen", sa.String(length=20), "start of the first sweep that saw it"),
        _column("present_since", sa.Integer(), "first sweep of the current presence interval"),
        _column("last_seen", sa.Integer(), "last sweep that saw it"),
        _column("absent_since", sa.Integer(), absent_comment, nullable=True),
    )


def upgrade() -> None:
    """Create the tables, each after those that it refers to."""
    _layer()
    _lease()
    _manifest()
    _record()
    _repository()
    _secret_key()
    _sweep()
    _failure()
    _image()
    _leaf()
    _tag()
    _finding()
    _image_layer()
    _report()
    _seen_image()
    _seen_tag()
    _withdrawn()


def _layer() -> None:
    op.create_table(
        "layer",
        _column("digest", sa.String(length=135), "digest of the stored bytes, verified"),
        _column("diff_id", sa.String(length=135), "digest of the uncompressed bytes, verified"),
        _column("size", sa.BigInteger(), "stored size in bytes"),
        _column("read_in", sa.Integer(), "last sweep that downloaded it", nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("ck_layer_size")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_layer")),
    )


def _lease() -> None:
    op.create_table(
        "lease",
        _column("name", sa.String(length=80), "lease name: see lease.py"),
        _column("token", sa.String(length=32), "random token of the holder"),
        _column("holder", sa.String(length=255), "host and process, for messages"),
        _column("machine", sa.String(length=64), "SHA-256 of boot id and PID namespace"),
        _column("process", sa.String(length=40), "process id and start time on that machine; empty if unknown"),
        _column("acquired", sa.String(length=20), "time of acquisition"),
        _column("expires", sa.BigInteger(), "end of the term, in seconds since 1970 by the clock of the database"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )


def _manifest() -> None:
    op.create_table(
        "manifest",
        _column("digest", sa.String(length=135), "digest of an index or of an image manifest"),
        _column(
            "created",
            sa.String(length=40),
            "creation time in the config of its first image; null if missing",
            nullable=True,
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_manifest")),
    )


def _record() -> None:
    op.create_table(
        "record",
        _column("key", sa.String(length=64), "SHA-256 of the layer's diff_id, the rules and the code"),
        _column("size", sa.Integer(), "size of data in bytes"),
        _column(
            "used", sa.BigInteger(), "last use, in seconds since 1970; least recently used records are deleted first"
        ),
        _column("data", sa.LargeBinary(), "MAC and layer record; secrets as HMACs: auditor/scan/serial.py"),
        sa.CheckConstraint("size = length(data)", name=op.f("ck_record_size")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_record")),
    )
    op.create_index("ix_record_used", "record", ["used", "size"], unique=False)


def _repository() -> None:
    op.create_table(
        "repository",
        _column("id", sa.Integer(), "assigned by the database"),
        _column("host", sa.String(length=255), "host and port of the registry"),
        _column("name", sa.String(length=255), "repository name without the host"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repository")),
        sa.UniqueConstraint("host", "name", name=op.f("uq_repository_host")),
    )


def _secret_key() -> None:
    op.create_table(
        "secret_key",
        _column("one", sa.Integer(), "always 1: the table has one row"),
        _column(
            "bytes",
            sa.LargeBinary(length=32),
            "HMAC key of secrets: identifies equal secrets; required to test guesses",
        ),
        sa.CheckConstraint("length(bytes) = 32", name=op.f("ck_secret_key_bytes")),
        sa.CheckConstraint("one = 1", name=op.f("ck_secret_key_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_secret_key")),
    )


def _sweep() -> None:
    op.create_table(
        "sweep",
        _column("id", sa.Integer(), "assigned by the database"),
        _column("registry", sa.String(length=255), "HOST[/PREFIX]"),
        _column(
            "scope",
            sa.String(length=64),
            "SHA-256 of registry, filter and platform: identifies a killed sweep that continues",
        ),
        _column(
            "filter_text",
            sa.Text(),
            "options that exclude a part of the registry, as written; null if none",
            nullable=True,
        ),
        _column("started", sa.String(length=20), "first start"),
        _column("finished", sa.String(length=20), "end; null while the sweep runs or if it was killed", nullable=True),
        _column("ruleset", sa.String(length=71), "digest of the rules"),
        _count("repositories", "repositories with an audited image"),
        _count("images", "audited images, one per platform and digest"),
        _count("tags", "tags of those images"),
        _count("critical", "findings of this severity"),
        _count("high", "findings of this severity"),
        _count("medium", "findings of this severity"),
        _count("low", "findings of this severity"),
        _count("secrets", "distinct secrets"),
        _count("new", "findings new in their repository"),
        _count("gone", "findings gone from their repository"),
        _count("failed", "references that were not audited"),
        _count("layers_unique", "distinct layers of the images"),
        _count("layers_read", "downloaded layers"),
        _column("bytes_read", sa.BigInteger(), "stored size of the downloaded layers", server_default="0"),
        _count("withdrawn", "images without a tag that are not deleted"),
        sa.CheckConstraint("finished IS NULL OR finished >= started", name=op.f("ck_sweep_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index("ix_sweep_registry", "sweep", ["registry", "finished"], unique=False)


def _failure() -> None:
    op.create_table(
        "failure",
        _column("sweep", sa.Integer(), "sweep that failed to audit it"),
        _column("reference", sa.String(length=512), "repository, repository:tag or repository@digest"),
        _column("reason", sa.Text(), "reason in one line"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_failure_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "reference", name=op.f("pk_failure")),
    )


def _image() -> None:
    op.create_table(
        "image",
        _column("id", sa.Integer(), "assigned by the database"),
        _column("repository", sa.Integer(), "repository of the image"),
        _column("digest", sa.String(length=135), "digest of the manifest"),
        _column("platform", sa.String(length=128), "os/architecture[/variant]; null for an artifact", nullable=True),
        _column("audit_key", sa.String(length=64), "SHA-256 of the rules, code and selection of the audit"),
        *_presence_interval("sweep in which the digest was deleted; null while it may be pulled"),
        sa.CheckConstraint("present_since <= absent_since", name=op.f("ck_image_absent_since")),
        sa.CheckConstraint("present_since <= last_seen", name=op.f("ck_image_last_seen")),
        sa.ForeignKeyConstraint(
            ["repository"], ["repository.id"], name=op.f("fk_image_repository"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("repository", "digest", name=op.f("uq_image_repository")),
    )


def _leaf() -> None:
    op.create_table(
        "leaf",
        _column("manifest", sa.String(length=135), "index that lists it, or the manifest itself"),
        _column("position", sa.Integer(), "position in the index, from 0"),
        _column("digest", sa.String(length=135), "digest of an image or attestation manifest"),
        _column("media_type", sa.String(length=255), "media type in the index"),
        _column("size", sa.BigInteger(), "size of that manifest in bytes", nullable=True),
        _column("platform", sa.String(length=128), "os/architecture[/variant] in the index", nullable=True),
        _column("subject", sa.String(length=135), "for an attestation: digest of the attested image", nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("ck_leaf_size")),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.digest"], name=op.f("fk_leaf_manifest"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("manifest", "position", name=op.f("pk_leaf")),
    )
    op.create_index("ix_leaf_digest", "leaf", ["digest"], unique=False)


def _tag() -> None:
    op.create_table(
        "tag",
        _column("id", sa.Integer(), "assigned by the database"),
        _column("repository", sa.Integer(), "repository of the tag"),
        _column("name", sa.String(length=128), "tag, or start of the digest if the image was listed by digest"),
        _column("manifest", sa.String(length=135), "manifest named by the tag; a moved tag has two rows"),
        *_presence_interval("first sweep that did not find it; null while present"),
        sa.CheckConstraint("present_since <= absent_since", name=op.f("ck_tag_absent_since")),
        sa.CheckConstraint("present_since <= last_seen", name=op.f("ck_tag_last_seen")),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.digest"], name=op.f("fk_tag_manifest")),
        sa.ForeignKeyConstraint(["repository"], ["repository.id"], name=op.f("fk_tag_repository"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        sa.UniqueConstraint("repository", "name", "manifest", name=op.f("uq_tag_repository")),
    )
    op.create_index("ix_tag_absent_since", "tag", ["repository", "absent_since"], unique=False)


def _finding() -> None:
    op.create_table(
        "finding",
        _column("id", sa.Integer(), "assigned by the database"),
        _column("image", sa.Integer(), "image that holds the finding"),
        _column("finding", sa.String(length=40), "finding id of the report; rebuilds of an image keep it"),
        _column("rule", sa.String(length=255), "rule id"),
        _column("name", sa.Text(), "rule name"),
        _column("severity", sa.String(length=8), "critical to low"),
        _column("confidence", sa.String(length=8), "high to low"),
        _column("state", sa.String(length=12), "deleted, overwritten, present or metadata"),
        _column("path", sa.Text(), "file path; null in metadata", nullable=True),
        _column("metadata_location", sa.Text(), "location in the metadata; null in a file", nullable=True),
        _column("line", sa.Integer(), "line number from 1; null in binary data", nullable=True),
        _column("masked", sa.Text(), "masked secret"),
        _column("secret", sa.LargeBinary(length=16), "HMAC of the secret under secret_key"),
        _column("layer", sa.String(length=135), "digest of the layer that added it; null in metadata", nullable=True),
        _column("added_in", sa.Integer(), "position of the layer that added it", nullable=True),
        _column("hidden_in", sa.Integer(), "position of the layer that hides it; null while present", nullable=True),
        _column("reported", sa.Boolean(), "whether the last audit of the image reported it"),
        *_presence_interval("sweep in which the digest was deleted; null while it may be pulled"),
        sa.CheckConstraint("confidence IN ('high', 'medium', 'low')", name=op.f("ck_finding_confidence")),
        sa.CheckConstraint("severity IN ('critical', 'high', 'medium', 'low')", name=op.f("ck_finding_severity")),
        sa.CheckConstraint("state IN ('deleted', 'overwritten', 'present', 'metadata')", name=op.f("ck_finding_state")),
        sa.CheckConstraint("(path IS NULL) <> (metadata_location IS NULL)", name=op.f("ck_finding_somewhere")),
        sa.CheckConstraint("length(secret) = 16", name=op.f("ck_finding_secret")),
        sa.CheckConstraint("present_since <= absent_since", name=op.f("ck_finding_absent_since")),
        sa.CheckConstraint("present_since <= last_seen", name=op.f("ck_finding_last_seen")),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_finding_image"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
        sa.UniqueConstraint("image", "finding", name=op.f("uq_finding_image")),
    )
    op.create_index("ix_finding_absent_since", "finding", ["absent_since"], unique=False)
    op.create_index("ix_finding_layer", "finding", ["layer"], unique=False)
    op.create_index("ix_finding_secret", "finding", ["secret"], unique=False)


def _image_layer() -> None:
    op.create_table(
        "image_layer",
        _column("image", sa.Integer(), "image that contains the layer"),
        _column("position", sa.Integer(), "position in the image; 0 is the lowest layer"),
        _column("layer", sa.String(length=135), "digest of the layer"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_image_layer_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["layer"], ["layer.digest"], name=op.f("fk_image_layer_layer")),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_layer")),
    )
    op.create_index("ix_image_layer_layer", "image_layer", ["layer"], unique=False)


def _report() -> None:
    op.create_table(
        "report",
        _column("image", sa.Integer(), "image of the report"),
        _column("data", sa.LargeBinary(), "masked JSON report, compressed with zlib"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_report_image"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image", name=op.f("pk_report")),
    )


def _seen_image() -> None:
    op.create_table(
        "seen_image",
        _column("sweep", sa.Integer(), "the sweep"),
        _column("image", sa.Integer(), "observed row"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_seen_image_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_seen_image_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "image", name=op.f("pk_seen_image")),
    )
    op.create_index("ix_seen_image_image", "seen_image", ["image"], unique=False)


def _seen_tag() -> None:
    op.create_table(
        "seen_tag",
        _column("sweep", sa.Integer(), "the sweep"),
        _column("tag", sa.Integer(), "observed row"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_seen_tag_sweep"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag"], ["tag.id"], name=op.f("fk_seen_tag_tag"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "tag", name=op.f("pk_seen_tag")),
    )
    op.create_index("ix_seen_tag_tag", "seen_tag", ["tag"], unique=False)


def _withdrawn() -> None:
    op.create_table(
        "withdrawn",
        _column("sweep", sa.Integer(), "the sweep"),
        _column("image", sa.Integer(), "image without a tag"),
        _column(
            "pullable", sa.Boolean(), "whether a HEAD request found the digest; null without an answer", nullable=True
        ),
        _column("tags", sa.Text(), "last tags of the image, as a JSON list"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_withdrawn_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_withdrawn_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "image", name=op.f("pk_withdrawn")),
    )
    op.create_index("ix_withdrawn_image", "withdrawn", ["image"], unique=False)


def downgrade() -> None:
    """Drop the tables, in reverse order."""
    for table in (
        "withdrawn",
        "seen_tag",
        "seen_image",
        "report",
        "image_layer",
        "finding",
        "tag",
        "leaf",
        "image",
        "failure",
        "sweep",
        "secret_key",
        "repository",
        "record",
        "manifest",
        "lease",
        "layer",
    ):
        op.drop_table(table)
