"""A target to its images."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from auditor.codec.compression import decompressed
from auditor.codec.file_slices import SharedFile
from auditor.core.errors import EngineUnusable, ImageError, NotFound, Unreachable
from auditor.core.limits import Limits
from auditor.images import archive, layout
from auditor.images.archive import Visit
from auditor.images.manifest import Failed, Origin
from auditor.images.source import Image
from auditor.registry.reference import Target, parse_reference, parse_target


def open_target(
    text: str,
    limits: Limits,
    *,
    platform: str | None = None,
    visit: Visit | None = None,
    insecure: bool = False,
    failed: Failed | None = None,
) -> tuple[Image, ...]:
    """Return the images that a target names, one a platform.

    With `visit`, what comes as a stream is read in one pass and its layers are `Passed`; without, every layer can be
    read again. With `failed`, one of several images that can't be opened is told to it, and the others are returned.
    Raises UsageError, ImageError or Unreachable.
    """
    target = parse_target(text)
    origin = partial(Origin, text, platform=platform, limits=limits, failed=failed)
    match target.transport:
        case "-":
            return archive.read_stream(_standard_input(limits), origin("docker-archive"), None, visit)
        case "path" | "docker-archive" | "oci" | "oci-archive":
            return _from_path(target, origin, visit)
        case "docker":
            return _from_registry(target.value, origin("docker"), insecure)
        case "container":
            from auditor.images import daemon

            return daemon.read_container(target.value, origin("container"), visit)
        case "docker-daemon":
            from auditor.images import daemon

            return daemon.read_images(target.value, origin("docker-daemon"), visit)
        case _:
            return _from_name(text, origin, visit, insecure)


def _from_path(target: Target, origin: Callable[[str], Origin], visit: Visit | None) -> tuple[Image, ...]:
    path = Path(os.path.expanduser(target.value))  # noqa: PTH111 - the other fails where there is no such user
    if path.is_dir():
        if target.transport in ("docker-archive", "oci-archive"):
            raise ImageError(f"{path}: a folder; {target.transport} wants a tar file, oci: a folder")
        return layout.read_images(path, origin("oci"), target.tag)
    if target.transport == "oci" and path.exists():
        raise ImageError(f"{path}: a file; oci wants a folder, oci-archive: a tar file")
    transport = "oci-archive" if target.transport == "oci-archive" else "docker-archive"
    return archive.read_images(SharedFile.open(path), origin(transport), target.tag, visit)


def _standard_input(limits: Limits) -> BinaryIO:
    if sys.stdin.isatty():
        raise ImageError(
            "-: standard input is a terminal; pipe an archive in, as in `docker save IMAGE | image-audit scan -`"
        )
    return decompressed(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), 1 << 16), limits)


def _from_registry(name: str, origin: Origin, insecure: bool) -> tuple[Image, ...]:
    from auditor.images import remote

    return remote.read_images(parse_reference(name), origin, insecure=insecure)


def _from_name(text: str, origin: Callable[[str], Origin], visit: Visit | None, insecure: bool) -> tuple[Image, ...]:
    """Ask the engine, and the registry where there is none or it lacks the image; where both fail, say so of both."""
    from auditor.images import daemon

    try:
        return daemon.read_images(text, origin("docker-daemon"), visit)
    except EngineUnusable as exc:
        raise EngineUnusable(f"{exc}; docker://{text} asks the registry") from exc
    except (NotFound, Unreachable) as exc:
        first = exc
    try:
        return _from_registry(text, origin("docker"), insecure)
    except (ImageError, Unreachable) as second:
        raise type(second)(f"{first}; and {second}") from second
