"""Sweeps, images, findings and layers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Bring it in, each table after those that it refers to."""
    _layer()
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


def _layer() -> None:
    op.create_table(
        "layer",
        sa.Column("digest", sa.String(length=135), nullable=False, comment="of the stored bytes, which were hashed"),
        sa.Column("diff_id", sa.String(length=135), nullable=False, comment="of what they unpack to, hashed as well"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes as stored"),
        sa.Column("read_in", sa.Integer(), nullable=True, comment="last sweep that downloaded it"),
        sa.CheckConstraint("size >= 0", name=op.f("ck_layer_size")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_layer")),
    )


def _manifest() -> None:
    op.create_table(
        "manifest",
        sa.Column(
            "digest",
            sa.String(length=135),
            nullable=False,
            comment="of what a tag names: an index or an image's manifest",
        ),
        sa.Column(
            "created",
            sa.String(length=40),
            nullable=True,
            comment="by the config of its first image; null where it says nothing",
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
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes of data"),
        sa.Column(
            "used", sa.BigInteger(), nullable=False, comment="seconds since 1970: those not used for longest go first"
        ),
        sa.Column(
            "data",
            sa.LargeBinary(),
            nullable=False,
            comment="what the layer holds, secrets sealed: auditor/scan/serial.py",
        ),
        sa.CheckConstraint("size = length(data)", name=op.f("ck_record_size")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_record")),
    )
    op.create_index("ix_record_used", "record", ["used", "size"], unique=False)


def _repository() -> None:
    op.create_table(
        "repository",
        sa.Column("id", sa.Integer(), nullable=False, comment="given by the store"),
        sa.Column("host", sa.String(length=255), nullable=False, comment="host and port of the registry"),
        sa.Column("name", sa.String(length=255), nullable=False, comment="without the host"),
        sa.Column(
            "last_sweep", sa.Integer(), nullable=True, comment="last finished sweep that went through it; null before"
        ),
        sa.Column(
            "previous_sweep", sa.Integer(), nullable=True, comment="the one before: what is new is new since then"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repository")),
        sa.UniqueConstraint("host", "name", name=op.f("uq_repository_host")),
    )


def _secret_key() -> None:
    op.create_table(
        "secret_key",
        sa.Column("one", sa.Integer(), nullable=False, comment="1: there is one key"),
        sa.Column(
            "bytes",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="HMAC key: equal secrets are known by it, and guesses can't be tested without it",
        ),
        sa.CheckConstraint("length(bytes) = 32", name=op.f("ck_secret_key_bytes")),
        sa.CheckConstraint("one = 1", name=op.f("ck_secret_key_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_secret_key")),
    )


def _sweep() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.Integer(), nullable=False, comment="given by the store"),
        sa.Column("registry", sa.String(length=255), nullable=False, comment="HOST[/PREFIX] as it was asked for"),
        sa.Column(
            "scope",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of what was asked for: a killed sweep goes on by it",
        ),
        sa.Column("started", sa.String(length=20), nullable=False, comment="when it began, at first"),
        sa.Column(
            "finished", sa.String(length=20), nullable=True, comment="when it ended; null while it runs, or was killed"
        ),
        sa.Column("ruleset", sa.String(length=71), nullable=False, comment="digest of the rules"),
        sa.Column("repositories", sa.Integer(), server_default="0", nullable=False, comment="that hold an image of it"),
        sa.Column(
            "images", sa.Integer(), server_default="0", nullable=False, comment="audited, one a platform and digest"
        ),
        sa.Column("tags", sa.Integer(), server_default="0", nullable=False, comment="that name one of the images"),
        sa.Column("critical", sa.Integer(), server_default="0", nullable=False, comment="findings of that severity"),
        sa.Column("high", sa.Integer(), server_default="0", nullable=False, comment="findings of that severity"),
        sa.Column("medium", sa.Integer(), server_default="0", nullable=False, comment="findings of that severity"),
        sa.Column("low", sa.Integer(), server_default="0", nullable=False, comment="findings of that severity"),
        sa.Column(
            "secrets", sa.Integer(), server_default="0", nullable=False, comment="different secrets among the findings"
        ),
        sa.Column("new", sa.Integer(), server_default="0", nullable=False, comment="findings new in their repository"),
        sa.Column(
            "gone", sa.Integer(), server_default="0", nullable=False, comment="findings gone from their repository"
        ),
        sa.Column(
            "failed", sa.Integer(), server_default="0", nullable=False, comment="references that were not audited"
        ),
        sa.Column(
            "layers_unique", sa.Integer(), server_default="0", nullable=False, comment="different layers of all images"
        ),
        sa.Column(
            "layers_read", sa.Integer(), server_default="0", nullable=False, comment="layers that were downloaded"
        ),
        sa.Column("bytes_read", sa.BigInteger(), server_default="0", nullable=False, comment="their size as stored"),
        sa.CheckConstraint("finished IS NULL OR finished >= started", name=op.f("ck_sweep_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index("ix_sweep_registry", "sweep", ["registry", "finished"], unique=False)


def _failure() -> None:
    op.create_table(
        "failure",
        sa.Column("sweep", sa.Integer(), nullable=False, comment="that met it"),
        sa.Column(
            "reference",
            sa.String(length=512),
            nullable=False,
            comment="repository, with a tag or digest where one failed",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="one line"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"], name=op.f("fk_failure_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "reference", name=op.f("pk_failure")),
    )


def _image() -> None:
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), nullable=False, comment="given by the store"),
        sa.Column("repository", sa.Integer(), nullable=False, comment="that holds it"),
        sa.Column("digest", sa.String(length=135), nullable=False, comment="of its manifest"),
        sa.Column(
            "platform", sa.String(length=128), nullable=True, comment="os/architecture[/variant]; null of an artifact"
        ),
        sa.Column(
            "audit",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of rules, code and selection that it was audited with",
        ),
        sa.Column("first_seen", sa.String(length=20), nullable=False, comment="start of the first sweep that saw it"),
        sa.Column("since", sa.Integer(), nullable=False, comment="sweep from which on it was seen without a gap"),
        sa.Column("last_seen", sa.Integer(), nullable=False, comment="last sweep that saw it"),
        sa.CheckConstraint("since <= last_seen", name=op.f("ck_image_span")),
        sa.ForeignKeyConstraint(
            ["repository"], ["repository.id"], name=op.f("fk_image_repository"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("repository", "digest", name=op.f("uq_image_repository")),
    )
    op.create_index("ix_image_last_seen", "image", ["last_seen"], unique=False)


def _leaf() -> None:
    op.create_table(
        "leaf",
        sa.Column("manifest", sa.String(length=135), nullable=False, comment="that lists it"),
        sa.Column("position", sa.Integer(), nullable=False, comment="in the index, from 0"),
        sa.Column(
            "digest", sa.String(length=135), nullable=False, comment="of the manifest of an image or an attestation"
        ),
        sa.Column("media_type", sa.String(length=255), nullable=False, comment="as the index has it"),
        sa.Column("size", sa.BigInteger(), nullable=True, comment="bytes of that manifest"),
        sa.Column("platform", sa.String(length=128), nullable=True, comment="os/architecture[/variant], by the index"),
        sa.Column("subject", sa.String(length=135), nullable=True, comment="of an attestation: the image it attests"),
        sa.CheckConstraint("size >= 0", name=op.f("ck_leaf_size")),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.digest"], name=op.f("fk_leaf_manifest"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("manifest", "position", name=op.f("pk_leaf")),
    )
    op.create_index("ix_leaf_digest", "leaf", ["digest"], unique=False)


def _tag() -> None:
    op.create_table(
        "tag",
        sa.Column("id", sa.Integer(), nullable=False, comment="given by the store"),
        sa.Column("repository", sa.Integer(), nullable=False, comment="that has the tag"),
        sa.Column("name", sa.String(length=128), nullable=False, comment="the tag"),
        sa.Column("manifest", sa.String(length=135), nullable=False, comment="what it named; a moved tag has two rows"),
        sa.Column("first_seen", sa.String(length=20), nullable=False, comment="start of the first sweep that saw it"),
        sa.Column("since", sa.Integer(), nullable=False, comment="sweep from which on it was seen without a gap"),
        sa.Column("last_seen", sa.Integer(), nullable=False, comment="last sweep that saw it"),
        sa.CheckConstraint("since <= last_seen", name=op.f("ck_tag_span")),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.digest"], name=op.f("fk_tag_manifest")),
        sa.ForeignKeyConstraint(["repository"], ["repository.id"], name=op.f("fk_tag_repository"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        sa.UniqueConstraint("repository", "name", "manifest", name=op.f("uq_tag_repository")),
    )
    op.create_index("ix_tag_last_seen", "tag", ["repository", "last_seen"], unique=False)


def _finding() -> None:
    op.create_table(
        "finding",
        sa.Column("id", sa.Integer(), nullable=False, comment="given by the store"),
        sa.Column("image", sa.Integer(), nullable=False, comment="that holds it"),
        sa.Column(
            "finding",
            sa.String(length=40),
            nullable=False,
            comment="the id in the report: the same over rebuilds of an image",
        ),
        sa.Column("rule", sa.String(length=255), nullable=False, comment="id of the rule"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the rule"),
        sa.Column("severity", sa.String(length=8), nullable=False, comment="critical to low"),
        sa.Column("confidence", sa.String(length=8), nullable=False, comment="high to low"),
        sa.Column("state", sa.String(length=12), nullable=False, comment="what became of it in the image"),
        sa.Column("path", sa.Text(), nullable=True, comment="of the file; null in metadata"),
        sa.Column("place", sa.Text(), nullable=True, comment="in the metadata; null in a file"),
        sa.Column("line", sa.Integer(), nullable=True, comment="from 1; null in binary data"),
        sa.Column("masked", sa.Text(), nullable=False, comment="the secret, masked"),
        sa.Column("secret", sa.LargeBinary(length=16), nullable=False, comment="HMAC of the secret under secret_key"),
        sa.Column("layer", sa.String(length=135), nullable=True, comment="that brought it in; null in metadata"),
        sa.Column("added_in", sa.Integer(), nullable=True, comment="position of the first layer that holds it"),
        sa.Column(
            "hidden_in", sa.Integer(), nullable=True, comment="position of the layer that hides it; null while present"
        ),
        sa.Column("held", sa.Boolean(), nullable=False, comment="whether the last audit of the image found it"),
        sa.Column("first_seen", sa.String(length=20), nullable=False, comment="start of the first sweep that saw it"),
        sa.Column("since", sa.Integer(), nullable=False, comment="sweep from which on it was seen without a gap"),
        sa.Column("last_seen", sa.Integer(), nullable=False, comment="last sweep that saw it"),
        sa.CheckConstraint("confidence IN ('high', 'medium', 'low')", name=op.f("ck_finding_confidence")),
        sa.CheckConstraint("severity IN ('critical', 'high', 'medium', 'low')", name=op.f("ck_finding_severity")),
        sa.CheckConstraint("state IN ('deleted', 'overwritten', 'present', 'metadata')", name=op.f("ck_finding_state")),
        sa.CheckConstraint("(path IS NULL) <> (place IS NULL)", name=op.f("ck_finding_somewhere")),
        sa.CheckConstraint("length(secret) = 16", name=op.f("ck_finding_secret")),
        sa.CheckConstraint("since <= last_seen", name=op.f("ck_finding_span")),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_finding_image"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
        sa.UniqueConstraint("image", "finding", name=op.f("uq_finding_image")),
    )
    op.create_index("ix_finding_layer", "finding", ["layer"], unique=False)
    op.create_index("ix_finding_secret", "finding", ["secret"], unique=False)


def _image_layer() -> None:
    op.create_table(
        "image_layer",
        sa.Column("image", sa.Integer(), nullable=False, comment="that is made of it"),
        sa.Column("position", sa.Integer(), nullable=False, comment="0 is the base"),
        sa.Column("layer", sa.String(length=135), nullable=False, comment="the layer"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_image_layer_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["layer"], ["layer.digest"], name=op.f("fk_image_layer_layer")),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_layer")),
    )
    op.create_index("ix_image_layer_layer", "image_layer", ["layer"], unique=False)


def _report() -> None:
    op.create_table(
        "report",
        sa.Column("image", sa.Integer(), nullable=False, comment="that it is of"),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="the masked JSON report, zlib"),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_report_image"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image", name=op.f("pk_report")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("report")
    op.drop_index("ix_image_layer_layer", table_name="image_layer")
    op.drop_table("image_layer")
    op.drop_index("ix_finding_secret", table_name="finding")
    op.drop_index("ix_finding_layer", table_name="finding")
    op.drop_table("finding")
    op.drop_index("ix_tag_last_seen", table_name="tag")
    op.drop_table("tag")
    op.drop_index("ix_leaf_digest", table_name="leaf")
    op.drop_table("leaf")
    op.drop_index("ix_image_last_seen", table_name="image")
    op.drop_table("image")
    op.drop_table("failure")
    op.drop_index("ix_sweep_registry", table_name="sweep")
    op.drop_table("sweep")
    op.drop_table("secret_key")
    op.drop_table("repository")
    op.drop_index("ix_record_used", table_name="record")
    op.drop_table("record")
    op.drop_table("manifest")
    op.drop_table("layer")
