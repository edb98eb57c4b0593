"""Open a target: by its transport, by the content of a path, or by a name that the engine or a registry has."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from auditor.codec.compression import decompressed
from auditor.core.errors import EngineUnusable, ImageError, NotFound, Unreachable
from auditor.core.limits import Limits
from auditor.images import archive
from auditor.images.archive import Visit
from auditor.images.manifest import Failed, Origin
from auditor.images.source import Image
from auditor.images.targets import TargetForm, parse_target
from auditor.images.transports import TRANSPORTS, OpenRequest


def open_target(
    text: str,
    limits: Limits,
    *,
    platform: str | None = None,
    visit: Visit | None = None,
    insecure: bool = False,
    failed: Failed | None = None,
) -> tuple[Image, ...]:
    """Return the images of a target, one for each platform.

    With `visit`, what comes as a stream is read in one pass and its layers are `Passed`; without, every layer can be
    read again. With `failed`, one of several images that can't be opened is told to it, and the others are returned.
    Raises UsageError, ImageError or Unreachable.
    """
    target = parse_target(text)

    def open_as(transport: str) -> tuple[Image, ...]:
        origin = Origin(text, transport, platform, limits, failed)
        return TRANSPORTS[transport].open(OpenRequest(target.value, target.tag, origin, visit, insecure))

    match target.form:
        case TargetForm.STANDARD_INPUT:
            origin = Origin(text, "docker-archive", platform, limits, failed)
            return archive.read_stream(_standard_input(limits), origin, None, visit)
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
    return decompressed(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), 1 << 16), limits)


def _open_name(
    name: str, from_engine: Callable[[], tuple[Image, ...]], from_registry: Callable[[], tuple[Image, ...]]
) -> tuple[Image, ...]:
    """Open an image of the engine; where no engine runs, or it lacks the image, of the registry.

    If both fail, the error names both causes. An engine that refuses access ends the search: the registry's image of
    that name may be another one.
    """
    try:
        return from_engine()
    except EngineUnusable as exc:
        raise EngineUnusable(f"{exc}; `docker://{name}` reads it from the registry") from exc
    except (NotFound, Unreachable) as exc:
        engine_error = exc
    try:
        return from_registry()
    except (ImageError, Unreachable) as exc:
        raise type(exc)(f"{engine_error}; and {exc}") from exc
