"""Which layers come from a base image, and how that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.core.digests import DiffID
from auditor.core.errors import AuditError, EngineUnusable, ImageError, NotFound, Unreachable, UsageError
from auditor.core.limits import Limits
from auditor.images.manifest import Origin
from auditor.images.resolve import open_target
from auditor.images.source import Image
from auditor.registry.reference import parse_reference, parse_target

_NAME = "org.opencontainers.image.base.name"
_DIGEST = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class Base:
    """The base of an image: its name, how it was known (`option`, `annotation`, `engine`), how many layers it gives."""

    name: str
    known_by: str
    layers: int


def named_base(name: str, image: Image, limits: Limits) -> Base:
    """Return the base that the user names. Raises ImageError where the image is not built on it."""
    candidates = _diff_ids(name, limits)
    lengths = [len(ids) for ids in candidates if _is_prefix(ids, image)]
    if not lengths:
        raise ImageError(f"{image.target}: is not built on {name}: its lowest layers are others")
    return Base(name, "option", max(lengths))


def _diff_ids(name: str, limits: Limits) -> list[tuple[DiffID, ...]]:
    """Return the layers of a base, one item a platform, without reading any layer."""
    from auditor.images import daemon

    target = parse_target(name)
    if target.transport == "-":
        raise UsageError("--base can't be -: standard input holds one archive")
    if target.transport in ("docker-daemon", "name"):
        try:
            return [daemon.inspect(target.value).diff_ids]
        except (NotFound, Unreachable) as exc:
            if target.transport == "docker-daemon" or isinstance(exc, EngineUnusable):
                raise
            name = f"docker://{target.value}"
    return [image.config.diff_ids for image in open_target(name, limits)]


def found_base(image: Image, limits: Limits) -> Base | None:
    """Return the base that annotations, labels or the engine's other images tell of; None where nothing does.

    Nothing but the engine and the image's own registry is asked: a hostile image must not choose whom we call.
    """
    labels = (image.config.raw.get("config") or {}).get("Labels") or {}
    said = {**labels, **image.annotations} if isinstance(labels, dict) else dict(image.annotations)
    name, digest = said.get(_NAME), said.get(_DIGEST)
    try:
        return _annotated(image, name, digest, limits) or _in_engine(image)
    except AuditError:
        return None


def _annotated(image: Image, name: object, digest: object, limits: Limits) -> Base | None:
    if not isinstance(name, str) or not name:
        return None
    for candidate, diff_ids in _candidates(image, name, digest, limits):
        if _is_prefix(diff_ids, image):
            return Base(candidate, "annotation", len(diff_ids))
    return None


def _candidates(image: Image, name: str, digest: object, limits: Limits) -> list[tuple[str, tuple[DiffID, ...]]]:
    from auditor.images import daemon

    try:
        return [(name, daemon.inspect(name).diff_ids)]
    except (NotFound, Unreachable):
        pass
    reference = parse_reference(name)
    own = [parse_reference(own).host for own in image.names if image.transport == "docker"]
    if reference.host not in own:
        return []
    from auditor.images import remote

    target = f"{reference.host}/{reference.repository}@{digest}" if isinstance(digest, str) else name
    images = remote.read_images(parse_reference(target), Origin(name, "docker", None, limits))
    return [(name, base.config.diff_ids) for base in images]


def _in_engine(image: Image) -> Base | None:
    """Look for the engine's named image whose layers are the longest proper prefix."""
    from auditor.images import daemon

    if image.transport not in ("docker-daemon", "container"):
        return None
    best: Base | None = None
    for other in daemon.tagged_images():
        length = len(other.diff_ids)
        if other.id != image.id and _is_prefix(other.diff_ids, image) and length > (best.layers if best else 0):
            best = Base((*other.names, *other.digests)[0], "engine", length)
    return best


def _is_prefix(diff_ids: Sequence[DiffID], image: Image) -> bool:
    """Whether these are an image's lowest layers, and not all of them."""
    own = [layer.diff_id for layer in image.layers]
    return 0 < len(diff_ids) < len(own) and own[: len(diff_ids)] == list(diff_ids)
