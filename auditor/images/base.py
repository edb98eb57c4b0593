"""The base image of an image: which of its lowest layers come from it, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID
from auditor.core.errors import AuditError, EngineUnusable, ImageError, NotFound, Unreachable, UsageError
from auditor.core.limits import Limits
from auditor.images.resolve import open_target
from auditor.images.source import Image
from auditor.images.targets import TargetForm, parse_target
from auditor.images.transports import TRANSPORTS
from auditor.registry.reference import parse_reference

if TYPE_CHECKING:
    from auditor.images.daemon import EngineImage

_NAME = "org.opencontainers.image.base.name"
_DIGEST = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class Base:
    """The base of an image: its name, the evidence (`option`, `annotation`, `engine`), the number of its layers."""

    name: str
    known_by: str
    layers: int


def named_base(name: str, image: Image, limits: Limits) -> Base:
    """Return the base that the user names. Raises ImageError where the image is not built on it."""
    lengths = [len(ids) for ids in _diff_ids(name, limits) if _is_prefix(ids, image)]
    if not lengths:
        raise ImageError(f"{image.target}: is not built on {name}: its lowest layers differ from that image's")
    return Base(name, "option", max(lengths))


def _diff_ids(name: str, limits: Limits) -> list[tuple[DiffID, ...]]:
    """Return the layers of a base, one item for each platform, without reading a layer."""
    target = parse_target(name)
    if target.form is TargetForm.STANDARD_INPUT:
        raise UsageError("--base can't be -: standard input holds one archive; name a file or an image")
    in_engine = target.transport is not None and target.transport.in_engine
    if in_engine or target.form is TargetForm.NAME:
        try:
            return [_engine_image(target.value).diff_ids]
        except (NotFound, Unreachable) as exc:
            if in_engine or isinstance(exc, EngineUnusable):
                raise
            name = f"docker://{target.value}"
    return [image.config.diff_ids for image in open_target(name, limits)]


def found_base(image: Image, limits: Limits) -> Base | None:
    """Return the base that annotations, labels or the engine's other images show; None without evidence.

    Only the engine and the image's own registry are asked: a hostile image must not choose where requests go.
    """
    labels = (image.config.raw.get("config") or {}).get("Labels") or {}
    notes = {**labels, **image.annotations} if isinstance(labels, dict) else dict(image.annotations)
    try:
        return _annotated_base(image, notes.get(_NAME), notes.get(_DIGEST), limits) or _base_in_engine(image)
    except AuditError:
        return None


def _annotated_base(image: Image, name: object, digest: object, limits: Limits) -> Base | None:
    if not isinstance(name, str) or not name:
        return None
    for diff_ids in _annotated_diff_ids(image, name, digest, limits):
        if _is_prefix(diff_ids, image):
            return Base(name, "annotation", len(diff_ids))
    return None


def _annotated_diff_ids(image: Image, name: str, digest: object, limits: Limits) -> list[tuple[DiffID, ...]]:
    try:
        return [_engine_image(name).diff_ids]
    except (NotFound, Unreachable):
        pass
    reference = parse_reference(name)
    own_hosts = [parse_reference(own).host for own in image.names if TRANSPORTS[image.transport].in_registry]
    if reference.host not in own_hosts:
        return []
    target = f"{reference.host}/{reference.repository}@{digest}" if isinstance(digest, str) else name
    return [base.config.diff_ids for base in open_target(f"docker://{target}", limits)]


def _base_in_engine(image: Image) -> Base | None:
    """Return the engine's named image with the longest proper prefix of the image's layers."""
    if not TRANSPORTS[image.transport].needs_engine:
        return None
    best: Base | None = None
    for other in _engine_images():
        length = len(other.diff_ids)
        if other.id != image.id and _is_prefix(other.diff_ids, image) and length > (best.layers if best else 0):
            best = Base((*other.names, *other.digests)[0], "engine", length)
    return best


def _engine_image(name: str) -> EngineImage:
    from auditor.images import daemon  # the Docker SDK takes 0.1 s to import, which most scans need not pay

    return daemon.inspect(name)


def _engine_images() -> list[EngineImage]:
    from auditor.images import daemon  # the Docker SDK, as above

    return daemon.tagged_images()


def _is_prefix(diff_ids: Sequence[DiffID], image: Image) -> bool:
    """Whether these are an image's lowest layers, and not all of them."""
    own = [layer.diff_id for layer in image.layers]
    return 0 < len(diff_ids) < len(own) and own[: len(diff_ids)] == list(diff_ids)
