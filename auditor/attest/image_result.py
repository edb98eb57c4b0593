"""Result of the audit of one image as counts, without a path, a secret or a text of the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError
from auditor.core.finding import Severity
from auditor.findings.secret_groups import verdict
from auditor.findings.selection import IgnoredBy
from auditor.images.source import Image
from auditor.pipeline import Audit


@dataclass(frozen=True, slots=True)
class UnreadItems:
    """Number of items of one layer that were not read; `layer` is None for the image's metadata."""

    layer: int | None
    items: int


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Counts of one image. Its fields are the keys of `images` in the predicate.

    `digest` is that of the manifest. `secrets`, `recoverable`, `visible` and `by_severity` count distinct secrets,
    `places` findings; `ignored` counts findings that options, the config file or the baseline accept. `files`
    and `bytes` are those of all layers, uncompressed.
    """

    digest: str
    platform: str | None
    layers: int
    files: int
    bytes: int
    secrets: int
    places: int
    recoverable: int
    visible: int
    by_severity: Mapping[Severity, int]
    ignored: Mapping[str, int]
    not_read: tuple[UnreadItems, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every part of the image was read."""
        return not self.not_read


def manifest_digest(image: Image) -> Digest:
    """Return the digest of an image's manifest. Raises AttestationError if it is unknown."""
    if image.digest is None:
        raise AttestationError(
            f"{image.target}: the digest of its manifest is unknown here. Push the image and use "
            "docker://HOST/REPO:TAG, or use an OCI archive"
        )
    return image.digest


def image_result(audit: Audit) -> ImageResult:
    """Count the results of an audit. Raises AttestationError for an image without the digest of a manifest."""
    image = audit.image
    groups = audit.secrets
    counts = verdict(groups, None)
    severities = Counter(group.severity for group in groups)
    ignored = Counter(item.by for item in audit.ignored)
    unread = Counter(item.layer for item in audit.skipped)
    return ImageResult(
        digest=manifest_digest(image),
        platform=str(image.config.platform) if image.config.platform else None,
        layers=len(audit.records),
        files=audit.file_count,
        bytes=sum(record.uncompressed for record in audit.records),
        secrets=counts.secrets,
        places=counts.places,
        recoverable=counts.recoverable,
        visible=counts.visible,
        by_severity={severity: severities[severity] for severity in Severity},
        ignored={str(by): ignored[by] for by in IgnoredBy},
        not_read=tuple(
            UnreadItems(layer, unread[layer]) for layer in sorted(unread, key=lambda n: -1 if n is None else n)
        ),
    )


def parse_image_result(value: Mapping[str, Any]) -> ImageResult:
    """Parse an item of `images`. Raises KeyError, TypeError, ValueError where it is malformed."""
    result = ImageResult(
        digest=str(value["digest"]),
        platform=None if value["platform"] is None else str(value["platform"]),
        layers=_count(value["layers"]),
        files=_count(value["files"]),
        bytes=_count(value["bytes"]),
        secrets=_count(value["secrets"]),
        places=_count(value["places"]),
        recoverable=_count(value["recoverable"]),
        visible=_count(value["visible"]),
        by_severity={severity: _count(value["by_severity"][severity]) for severity in Severity},
        ignored={str(by): _count(value["ignored"][by]) for by in IgnoredBy},
        not_read=tuple(
            UnreadItems(None if item["layer"] is None else _count(item["layer"]), _count(item["items"]))
            for item in value["not_read"]
        ),
    )
    if result.secrets != sum(result.by_severity.values()):
        raise ValueError(result.secrets)
    return result


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value
