"""Parsing of descriptors and image configs. Keys may be in any case, as for engines.

Sources: OCI image spec v1.1 (descriptor.md, config.md), BuildKit's attestation-storage.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from auditor.codec.json_documents import canonical_keys, key_names, parse_object
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, ImageError
from auditor.core.image_config import HistoryStep, ImageConfig, Platform
from auditor.core.limits import Limits

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join(INDEXES + MANIFESTS)
"""Value of the Accept header of a request for a manifest or an index."""

_DESCRIPTOR = key_names("mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType", "data")
_PLATFORM = key_names("os", "architecture", "variant", "os.version", "os.features")
_CONFIG = key_names(
    "id", "parent", "comment", "created", "container", "container_config", "docker_version", "author", "config",
    "architecture", "variant", "os", "os.version", "os.features", "rootfs", "history",
)  # fmt: skip
_RUN = key_names(
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Healthcheck", "ArgsEscaped", "Volumes", "WorkingDir",
    "OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell",
)  # fmt: skip
_ROOTFS = key_names("type", "diff_ids")
_STEP = key_names("created", "created_by", "author", "comment", "empty_layer")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to a blob: its media type, digest and size in bytes. `raw` is the whole object."""

    media_type: str
    digest: Digest
    size: int | None
    annotations: Mapping[str, str]
    platform: Platform | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_attestation(self) -> bool:
        """Whether it is an attestation manifest of BuildKit. With a real platform, engines pull it as an image."""
        typed = self.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        return typed and (self.platform is None or self.platform.os == "unknown")


def parse_descriptor(value: Any, label: str) -> Descriptor:
    """Parse a descriptor. Raises Damaged where its digest or size is malformed."""
    if not isinstance(value, dict):
        raise Damaged(f"{label}: a descriptor is not a JSON object")
    raw = canonical_keys(value, _DESCRIPTOR, label)
    if isinstance(raw.get("platform"), dict):
        raw["platform"] = canonical_keys(raw["platform"], _PLATFORM, label)
    size = raw.get("size")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise Damaged(f"{label}: a descriptor's size is {size!r:.40}")
    try:
        digest = Digest(raw.get("digest", ""))
    except ImageError as exc:
        raise Damaged(f"{label}: {exc}") from None
    return Descriptor(
        str(raw.get("mediaType") or ""),
        digest,
        size,
        strings(raw.get("annotations")),
        parse_platform(raw.get("platform")),
        raw,
    )


def parse_descriptors(values: Sequence[Any], label: str, skipped: list[Skipped] | None) -> list[Descriptor]:
    """Parse the descriptors of an index. Engines ignore a malformed one, which is added to `skipped`.

    Raises Damaged where `skipped` is None, and where all are malformed.
    """
    parsed, malformed = list[Descriptor](), list[Damaged]()
    for value in values:
        try:
            parsed.append(parse_descriptor(value, label))
        except Damaged as exc:
            malformed.append(exc)
    if malformed and (skipped is None or not parsed):
        raise malformed[0]
    if skipped is not None:
        skipped += [Skipped(None, None, str(exc)) for exc in malformed]
    return parsed


def parse_config(data: bytes, label: str, limits: Limits) -> ImageConfig:
    """Parse an image config. Raises Damaged where its layers or history are malformed."""
    raw = canonical_keys(parse_object(data, label, limits), _CONFIG, label)
    rootfs, history = raw.get("rootfs") or {}, raw.get("history") or []
    if isinstance(rootfs, dict):
        raw["rootfs"] = rootfs = canonical_keys(rootfs, _ROOTFS, label)
    diff_ids = rootfs.get("diff_ids") or [] if isinstance(rootfs, dict) else []
    if not isinstance(diff_ids, list) or not isinstance(history, list):
        raise Damaged(f"{label}: rootfs.diff_ids and history must be lists")
    if "history" in raw:
        raw["history"] = [canonical_keys(step, _STEP, label) if isinstance(step, dict) else step for step in history]
    for key in ("config", "container_config"):
        if isinstance(raw.get(key), dict):
            raw[key] = canonical_keys(raw[key], _RUN, label)
    try:
        parsed = tuple(DiffID(item) for item in diff_ids)
    except ImageError as exc:
        raise Damaged(f"{label}: rootfs.diff_ids: {exc}") from None
    steps = tuple(_step(item) for item in raw.get("history") or () if isinstance(item, dict))
    return ImageConfig(parse_platform(raw), parsed, steps, raw, len(data))


def _step(item: dict[str, Any]) -> HistoryStep:
    return HistoryStep(
        _optional(item.get("created")),
        _optional(item.get("created_by")),
        str(item.get("comment") or ""),
        bool(item.get("empty_layer", False)),
    )


def _optional(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def strings(value: Any) -> dict[str, str]:
    """Return the string values of a JSON object by key; an empty dict for any other value."""
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def parse_platform(value: Any) -> Platform | None:
    """Parse a platform; None where it has no `os`."""
    if not isinstance(value, dict) or not isinstance(value.get("os"), str) or not value["os"]:
        return None
    return Platform(value["os"], str(value.get("architecture") or ""), str(value.get("variant") or ""))


def platform_matches(pattern: str | None, platform: Platform | None) -> bool:
    """Tell whether a platform matches `linux`, `linux/arm64` or `linux/arm/v7`: omitted parts match any value."""
    if pattern is None:
        return True
    if platform is None:
        return False
    parts = pattern.split("/")
    return list((platform.os, platform.architecture, platform.variant)[: len(parts)]) == parts
