"""Destinations of a proven image: the engine and registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from auditor.codec.file_slices import FileSlice
from auditor.core.errors import AuditError, FlattenError, NotFound, Unauthorized, UsageError
from auditor.images import daemon
from auditor.images.engine import engine
from auditor.images.transports import TRANSPORTS
from auditor.rebuild.archive_writer import encoded
from auditor.rebuild.engine_comparison import compare_in_engine
from auditor.rebuild.flatten import FlattenedImage
from auditor.rebuild.manifests import index_of, manifest_of
from auditor.rebuild.operations import KeepLayer
from auditor.rebuild.source_images import pushed_to
from auditor.registry.client import Client
from auditor.registry.push import PushCounts, Pusher, push
from auditor.registry.reference import Reference, parse_reference
from auditor.registry.repository import Repository


def full_name(name: str) -> str:
    """Complete a name for the engine with its tag. Raises UsageError."""
    reference = parse_reference(name)
    if reference.digest is not None:
        raise UsageError(f"{name}: a new image cannot be named by digest. Use NAME[:TAG]")
    return name if reference.tag else f"{name}:latest"


def require_reachable(reference: Reference | None, *, insecure: bool) -> None:
    """Check that the registry, or for None the engine, answers and accepts the login. Raises Unreachable."""
    if reference is None:
        with engine():
            return
    Pusher(Client(reference.host, path=reference.repository, insecure=insecure), reference.repository).check()


def require_unused(tag: str | None, push_to: Reference | None, *, insecure: bool) -> None:
    """Check that neither the engine nor the registry has an image of this name. Raises UsageError, Unreachable."""
    if tag is not None:
        with suppress(NotFound):
            daemon.inspect(tag)
            raise UsageError(
                f"-t {tag}: the engine has an image of that name. Choose another, or use --force to move it"
            )
    if push_to is not None:
        repository = Repository(Client(push_to.host, path=push_to.repository, insecure=insecure), push_to.repository)
        with suppress(NotFound, Unauthorized):  # some registries answer 401 for a missing tag
            repository.look_up(push_to.version)
            raise UsageError(f"--push {push_to}: exists in the registry. Choose another tag, or move it with --force")


def to_engine(path: Path, name: str, flattened: FlattenedImage, say: Callable[[str], None]) -> str:
    """Load the archive and check that the engine has the proven layers. Return the image's ID.

    Where the engine has the input too, compare the exports of both; `say` reports that step. On any failure the name is
    given back to its previous image. Raises Unreachable, FlattenError.
    """
    before, source = None, _engine_id(flattened)
    with suppress(NotFound):
        before = daemon.inspect(name).id
    try:
        daemon.load(path)
        image = daemon.inspect(name)
        if image.diff_ids != tuple(blob.diff_id for blob in flattened.rewritten.layers):
            raise FlattenError(f"{name}: the engine has other layers than the archive. The name was not moved")
        if source is not None:
            say("comparing the exports of the engine")
            _compare_in_engine(source, image.id, name)
    except BaseException:
        with suppress(AuditError):
            daemon.rename(before, name)
        raise
    return image.id


def _engine_id(flattened: FlattenedImage) -> str | None:
    """Return the ID of the input image; None where the engine does not have it."""
    image = flattened.before.image
    transport = TRANSPORTS[image.transport]
    if not transport.in_engine:
        return None
    with suppress(NotFound):
        found = daemon.inspect(transport.bare(image.target))
        if found.diff_ids == tuple(record.diff_id for record in flattened.before.records):
            return found.id
    return None


def _compare_in_engine(source: str, result: str, name: str) -> None:
    compared = compare_in_engine(source, result)
    if compared.count:
        more = f", and {compared.count - 1} more" if compared.count > 1 else ""
        raise FlattenError(f"{name}: {compared.differences[0]}{more}. The name was not moved")


def to_registry(images: Sequence[FlattenedImage], reference: Reference, *, insecure: bool) -> PushCounts:
    """Push the images of one archive. Kept layers are mounted where the registry has the input."""
    origin = _mount_source(images[0], reference)
    ready = []
    for image in images:
        layers = []
        for plan, blob, layer in zip(image.plans, image.rewritten.layers, image.after.image.layers, strict=True):
            assert isinstance(layer.content, FileSlice)  # noqa: S101 - the archive is a local file
            layers.append((blob.digest, layer.content, isinstance(plan, KeepLayer)))
        ready.append((encoded(manifest_of(image.rewritten)), image.rewritten.config, layers))
    document = index_of([image.rewritten for image in images])
    index = None if document is None else encoded(document)
    return push(reference, ready, index, insecure=insecure, origin=origin)


def _mount_source(image: FlattenedImage, reference: Reference) -> str | None:
    """Return the repository of the same registry that holds the kept layers."""
    return next((found.repository for found in pushed_to(image.before.image, reference.host)), None)
