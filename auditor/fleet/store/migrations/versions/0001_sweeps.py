"""Tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001_sweeps"
down_revision = None


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
        sa.Column("digest", sa.String(length=135), nullable=False, comment="digest of the stored bytes, verified"),
        sa.Column(
            "diff_id", sa.String(length=135), nullable=False, comment="digest of the uncompressed bytes, verified"
        ),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="stored size in bytes"),
        sa.Column("read_in", sa.Integer(), nullable=True, comment="last sweep that downloaded it"),
        sa.CheckConstraint("size >= 0", name=op.f("ck_layer_size")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_layer")),
    )


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=80), nullable=False, comment="lease name: see lease.py"),
        sa.Column("token", sa.String(length=32), nullable=False, comment="random token of the holder"),
        sa.Column("holder", sa.String(length=255), nullable=False, comment="host and process, for messages"),
        sa.Column("machine", sa.String(length=64), nullable=False, comment="SHA-256 of boot id and PID namespace"),
        sa.Column(
            "process",
            sa.String(length=40),
            nullable=False,
            comment="process id and start time on that machine; empty if unknown",
        ),
        sa.Column("acquired", sa.String(length=20), nullable=False, comment="time of acquisition"),
        sa.Column(
            "expires",
            sa.BigInteger(),
            nullable=False,
            comment="end of the term, in seconds since 1970 by the clock of the database",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )


def _manifest() -> None:
    op.create_table(
        "manifest",
        sa.Column(
            "digest", sa.String(length=135), nullable=False, comment="digest of an index or of an image manifest"
        ),
        sa.Column(
            "created",
            sa.String(length=40),
            nullable=True,
            comment="creation time in the config of its first image; null if missing",
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_manifest")),
    )


def _record() -> None:
    op.create_table(
        "record",
        sa.Column(
            "key",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the layer's diff_id, the rules and the code",
        ),
        sa.Column("size", sa.Integer(), nullable=False, comment="size of data in bytes"),
        sa.Column(
            "used",
            sa.BigInteger(),
            nullable=False,
            comment="last use, in seconds since 1970; least recently used records are deleted first",
        ),
        sa.Column(
            "data",
            sa.LargeBinary(),
            nullable=False,
            comment="MAC and layer record; secrets as HMACs: auditor/scan/serial.py",
        ),
        sa.CheckConstraint("size = length(data)", name=op.f("ck_record_size")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_record")),
    )
    op.create_index("ix_record_used", "record", ["used", "size"], unique=False)


def _repository() -> None:
    op.create_table(
        "repository",
        sa.Column("id", sa.Integer(), nullable=False, comment="assigned by the database"),
        sa.Column("host", sa.String(length=255), nullable=False, comment="host and port of the registry"),
        sa.Column("name", sa.String(length=255), nullable=False, comment="repository name without the host"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repository")),
        sa.UniqueConstraint("host", "name", name=op.f("uq_repository_host")),
    )


def _secret_key() -> None:
    op.create_table(
        "secret_key",
        sa.Column("one", sa.Integer(), nullable=False, comment="always 1: the table has one row"),
        sa.Column(
            "bytes",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="HMAC key of secrets: identifies equal secrets; required to test guesses",
        ),
        sa.CheckConstraint("length(bytes) = 32", name=op.f("ck_secret_key_bytes")),
        sa.CheckConstraint("one = 1", name=op.f("ck_secret_key_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_secret_key")),
    )


def _sweep() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.Integer(), nullable=False, comment="assigned by the database"),
        sa.Column("registry", sa.String(length=255), nullable=False, comment="HOST[/PREFIX]"),
        sa.Column(
            "scope",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of registry, filter and platform: identifies a killed sweep that continues",
        ),
        sa.Column(
            "filter_text",
            sa.Text(),
            nullable=True,
            comment="options that exclude a part of the registry, as written; null if none",
        ),
        sa.Column("started", sa.String(length=20), nullable=False, comment="first start"),
        sa.Column(
            "finished",
            sa.String(length=20),
            nullable=True,
            comment="end; null while the sweep runs or if it was killed",
        ),
        sa.Column("ruleset", sa.String(length=71), nullable=False, comment="digest of the rules"),
        sa.Column(
            "repositories",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="repositories with an audited image",
        ),
        sa.Column(
            "images",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="audited images, one per platform and digest",
        ),
        sa.Column("tags", sa.Integer(), server_default="0", nullable=False, comment="tags of those images"),
        sa.Column("critical", sa.Integer(), server_default="0", nullable=False, comment="findings of this severity"),
        sa.Column("high", sa.Integer(), server_default="0", nullable=False, comment="findings of this severity"),
        sa.Column("medium", sa.Integer(), server_default="0", nullable=False, comment="findings of this severity"),
        sa.Column("low", sa.Integer(), server_default="0", nullable=False, comment="findings of this severity"),
        sa.Column("secrets", sa.Integer(), server_default="0", nullable=False, comment="distinct secrets"),
        sa.Column("new", sa.Integer(), server_default="0", nullable=False, comment="findings new in their repository"),
        sa.Column(
            "gone", sa.Integer(), server_default="0", nullable=False, comment="findings gone from their repository"
        ),
        sa.Column(
            "failed", sa.Integer(), server_default="0", nullable=False, comment="references that were not audited"
        ),
        sa.Column(
            "layers_unique", sa.Integer(), server_default="0", nullable=False, comment="distinct layers of the images"
        ),
        sa.Column("layers_read", sa.Integer(), server_default="0", nullable=False, comment="downloaded layers"),
        sa.Column(
            "bytes_read",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="stored size of the downloaded layers",
        ),
        sa.Column(
            "withdrawn",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="images without a tag that are not deleted",
        ),
        sa.CheckConstraint("finished IS NULL OR finished >= started", name=op.f("ck_sweep_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index("ix_sweep_registry", "sweep", ["registry", "finished"], unique=False)


def _failure() -> None:
    op.create_table(
        "failure",
        sa.Column("sweep", sa.Integer(), nullable=False, comment="sweep that failed to audit it"),
        sa.Column(
            "reference",
            sa.String(length=512),
            nullable=False,
            comment="repository, repository:tag or repository@digest",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="reason in one line"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_failure_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "reference", name=op.f("pk_failure")),
    )


def _image() -> None:
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), nullable=False, comment="assigned by the database"),
        sa.Column("repository", sa.Integer(), nullable=False, comment="repository of the image"),
        sa.Column("digest", sa.String(length=135), nullable=False, comment="digest of the manifest"),
        sa.Column(
            "platform", sa.String(length=128), nullable=True, comment="os/architecture[/variant]; null for an artifact"
        ),
        sa.Column(
            "audit_key",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the rules, code and selection of the audit",
        ),
        sa.Column("first_seen", sa.String(length=20), nullable=False, comment="start of the first sweep that saw it"),
        sa.Column(
            "present_since", sa.Integer(), nullable=False, comment="first sweep of the current presence interval"
        ),
        sa.Column("last_seen", sa.Integer(), nullable=False, comment="last sweep that saw it"),
        sa.Column(
            "absent_since",
            sa.Integer(),
            nullable=True,
            comment="sweep in which the digest was deleted; null while it may be pulled",
        ),
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
        sa.Column(
            "manifest", sa.String(length=135), nullable=False, comment="index that lists it, or the manifest itself"
        ),
        sa.Column("position", sa.Integer(), nullable=False, comment="position in the index, from 0"),
        sa.Column(
            "digest", sa.String(length=135), nullable=False, comment="digest of an image or attestation manifest"
        ),
        sa.Column("media_type", sa.String(length=255), nullable=False, comment="media type in the index"),
        sa.Column("size", sa.BigInteger(), nullable=True, comment="size of that manifest in bytes"),
        sa.Column("platform", sa.String(length=128), nullable=True, comment="os/architecture[/variant] in the index"),
        sa.Column(
            "subject", sa.String(length=135), nullable=True, comment="for an attestation: digest of the attested image"
        ),
        sa.CheckConstraint("size >= 0", name=op.f("ck_leaf_size")),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.digest"], name=op.f("fk_leaf_manifest"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("manifest", "position", name=op.f("pk_leaf")),
    )
    op.create_index("ix_leaf_digest", "leaf", ["digest"], unique=False)


def _tag() -> None:
    op.create_table(
        "tag",
        sa.Column("id", sa.Integer(), nullable=False, comment="assigned by the database"),
        sa.Column("repository", sa.Integer(), nullable=False, comment="repository of the tag"),
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="tag, or start of the digest if the image was listed by digest",
        ),
        sa.Column(
            "manifest",
            sa.String(length=135),
            nullable=False,
            comment="manifest named by the tag; a moved tag has two rows",
        ),
        sa.Column("first_seen", sa.String(length=20), nullable=False, comment="start of the first sweep that saw it"),
        sa.Column(
            "present_since", sa.Integer(), nullable=False, comment="first sweep of the current presence interval"
        ),
        sa.Column("last_seen", sa.Integer(), nullable=False, comment="last sweep that saw it"),
        sa.Column(
            "absent_since", sa.Integer(), nullable=True, comment="first sweep that did not find it; null while present"
        ),
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
        sa.Column("id", sa.Integer(), nullable=False, comment="assigned by the database"),
        sa.Column("image", sa.Integer(), nullable=False, comment="image that holds the finding"),
        sa.Column(
            "finding",
            sa.String(length=40),
            nullable=False,
            comment="finding id of the report; rebuilds of an image keep it",
        ),
        sa.Column("rule", sa.String(length=255), nullable=False, comment="rule id"),
        sa.Column("name", sa.Text(), nullable=False, comment="rule name"),
        sa.Column("severity", sa.String(length=8), nullable=False, comment="critical to low"),
        sa.Column("confidence", sa.String(length=8), nullable=False, comment="high to low"),
        sa.Column("state", sa.String(length=12), nullable=False, comment="deleted, overwritten, present or metadata"),
        sa.Column("path", sa.Text(), nullable=True, comment="file path; null in metadata"),
        sa.Column("metadata_location", sa.Text(), nullable=True, comment="location in the metadata; null in a file"),
        sa.Column("line", sa.Integer(), nullable=True, comment="line number from 1; null in binary data"),
        sa.Column("masked", sa.Text(), nullable=False, comment="masked secret"),
        sa.Column("secret", sa.LargeBinary(length=16), nullable=False, comment="HMAC of the secret under secret_key"),
        sa.Column(
            "layer", sa.String(length=135), nullable=True, comment="digest of the layer that added it; null in metadata"
        ),
        sa.Column("added_in", sa.Integer(), nullable=True, comment="position of the layer that added it"),
        sa.Column(
            "hidden_in", sa.Integer(), nullable=True, comment="position of the layer that hides it; null while present"
        ),
        sa.Column("reported", sa.Boolean(), nullable=False, comment="whether the last audit of the image reported it"),
        sa.Column("first_seen", sa.String(length=20), nullable=False, comment="start of the first sweep that saw it"),
        sa.Column(
            "present_since", sa.Integer(), nullable=False, comment="first sweep of the current presence interval"
        ),
        sa.Column("last_seen", sa.Integer(), nullable=False, comment="last sweep that saw it"),
        sa.Column(
            "absent_since",
            sa.Integer(),
            nullable=True,
            comment="sweep in which the digest was deleted; null while it may be pulled",
        ),
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
        sa.Column("image", sa.Integer(), nullable=False, comment="image that contains the layer"),
        sa.Column("position", sa.Integer(), nullable=False, comment="position in the image; 0 is the lowest layer"),
        sa.Column("layer", sa.String(length=135), nullable=False, comment="digest of the layer"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_image_layer_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["layer"], ["layer.digest"], name=op.f("fk_image_layer_layer")),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_layer")),
    )
    op.create_index("ix_image_layer_layer", "image_layer", ["layer"], unique=False)


def _report() -> None:
    op.create_table(
        "report",
        sa.Column("image", sa.Integer(), nullable=False, comment="image of the report"),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="masked JSON report, compressed with zlib"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_report_image"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image", name=op.f("pk_report")),
    )


def _seen_image() -> None:
    op.create_table(
        "seen_image",
        sa.Column("sweep", sa.Integer(), nullable=False, comment="the sweep"),
        sa.Column("image", sa.Integer(), nullable=False, comment="observed row"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_seen_image_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_seen_image_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "image", name=op.f("pk_seen_image")),
    )
    op.create_index("ix_seen_image_image", "seen_image", ["image"], unique=False)


def _seen_tag() -> None:
    op.create_table(
        "seen_tag",
        sa.Column("sweep", sa.Integer(), nullable=False, comment="the sweep"),
        sa.Column("tag", sa.Integer(), nullable=False, comment="observed row"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_seen_tag_sweep"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag"], ["tag.id"], name=op.f("fk_seen_tag_tag"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "tag", name=op.f("pk_seen_tag")),
    )
    op.create_index("ix_seen_tag_tag", "seen_tag", ["tag"], unique=False)


def _withdrawn() -> None:
    op.create_table(
        "withdrawn",
        sa.Column("sweep", sa.Integer(), nullable=False, comment="the sweep"),
        sa.Column("image", sa.Integer(), nullable=False, comment="image without a tag"),
        sa.Column(
            "pullable",
            sa.Boolean(),
            nullable=True,
            comment="whether a HEAD request found the digest; null without an answer",
        ),
        sa.Column("tags", sa.Text(), nullable=False, comment="last tags of the image, as a JSON list"),
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
