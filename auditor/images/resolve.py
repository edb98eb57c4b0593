"""Open a target: by its transport, by the content of a path, or by a name that the engine or a registry has."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from auditor.codec.compression import decompressed
from auditor.core.dataclass import dataclass
from auditor.core.errors import EngineUnusable, ImageError, NotFound, Unreachable
from auditor.core.limits import Limits
from auditor.core.progress import Progress, Silent
from auditor.images import archive
from auditor.images.manifest import FailureCallback, Origin
from auditor.images.source import ExportCache, Image, ImageSource, LayerRef
from auditor.images.targets import TargetForm, parse_target
from auditor.images.transports import TRANSPORTS, OpenRequest


def open_target(
    text: str,
    limits: Limits,
    *,
    platform: str | None = None,
    insecure: bool = False,
    failed: FailureCallback | None = None,
) -> tuple[Image, ...]:
    """Return the images of a target, one for each platform; every layer can be opened any number of times.

    An archive that arrives as a stream is copied to a temporary file. Raises as `open_source`.
    """
    return open_source(text, limits, platform=platform, insecure=insecure, failed=failed).rereadable_images()


def open_source(
    text: str,
    limits: Limits,
    *,
    platform: str | None = None,
    insecure: bool = False,
    failed: FailureCallback | None = None,
    exports: ExportCache | None = None,
    progress: Progress | None = None,
) -> ImageSource:
    """Open a target without reading a layer.

    `failed` is called with each of several images that can't be opened, and the others are returned; without it the
    first error is raised. With `exports`, an engine's image is not exported if the cache has all its layers. Raises
    UsageError, ImageError or Unreachable.
    """
    target, progress = parse_target(text), progress or Silent()

    def open_as(transport: str) -> ImageSource:
        origin = Origin(text, transport, platform, limits, failed, exports, progress)
        return TRANSPORTS[transport].open(OpenRequest(target.value, target.tag, origin, insecure))

    match target.form:
        case TargetForm.STANDARD_INPUT:
            origin = Origin(text, "docker-archive", platform, limits, failed)
            return archive.open_stream(_standard_input(limits), origin, None)
        case TargetForm.PATH:
            is_folder = Path(os.path.expanduser(text)).is_dir()  # noqa: PTH111 - the other fails for unknown users
            return open_as("oci" if is_folder else "docker-archive")
        case TargetForm.NAME:
            return _open_name(text, partial(open_as, "docker-daemon"), partial(open_as, "docker"))
        case TargetForm.PREFIXED:
            assert target.transport is not None  # noqa: S101 - parse_target sets it for this form
            return open_as(target.transport.name)


def _standard_input(limits: Limits) -> BinaryIO:
    if sys.stdin.isatty():
        raise ImageError("-: standard input is a terminal. Pipe an archive: `docker save IMAGE | image-audit scan -`")
    return decompressed(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), 1 << 16), limits, "-")


def _open_name(
    name: str, from_engine: Callable[[], ImageSource], from_registry: Callable[[], ImageSource]
) -> ImageSource:
    """Open an image of the engine; where no engine runs, or it lacks the image, of the registry.

    An engine that refuses access ends the search: the registry's image of that name may be another one.
    """
    try:
        return _EngineThenRegistry(from_engine(), from_registry)
    except EngineUnusable as exc:
        raise EngineUnusable(f"{exc}; `docker://{name}` reads it from the registry") from exc
    except (NotFound, Unreachable) as exc:
        return _open_instead(from_registry, exc)


@dataclass(frozen=True, slots=True)
class _EngineThenRegistry:
    """An engine's image; the registry's, where the engine's is for another platform than requested."""

    engine: ImageSource
    from_registry: Callable[[], ImageSource]

    def streams(self) -> Iterator[tuple[LayerRef, BinaryIO]]:
        """Yield the layers of the engine's image."""
        return self.engine.streams()

    def images(self) -> tuple[Image, ...]:
        """Return the images of the engine, or of the registry."""
        try:
            return self.engine.images()
        except NotFound as exc:
            return _open_instead(self.from_registry, exc).images()

    def rereadable_images(self) -> tuple[Image, ...]:
        """Return the images of the engine, or of the registry."""
        try:
            return self.engine.rereadable_images()
        except NotFound as exc:
            return _open_instead(self.from_registry, exc).rereadable_images()


def _open_instead(from_registry: Callable[[], ImageSource], engine_error: ImageError | Unreachable) -> ImageSource:
    """Open the registry's image; if that fails too, the error names both causes."""
    try:
        return from_registry()
    except (ImageError, Unreachable) as exc:
        raise type(exc)(f"{engine_error}; and {exc}") from exc
