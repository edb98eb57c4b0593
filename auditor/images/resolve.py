"""A target to its images."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

from auditor.codec.compression import decompressed
from auditor.errors import ImageError, NotFound, Unreachable
from auditor.images import archive, layout
from auditor.images.archive import Visit
from auditor.images.manifest import Origin
from auditor.images.reference import Target, parse_reference, parse_target
from auditor.images.source import HeldFile, Image


def open_target(
    text: str, *, platform: str | None = None, visit: Visit | None = None, insecure: bool = False
) -> tuple[Image, ...]:
    """Return the images that a target names, one a platform.

    With `visit`, what comes as a stream is read in one pass and its layers are `Passed`; without, every layer can be
    read again. Raises UsageError, ImageError or Unreachable.
    """
    target = parse_target(text)
    match target.transport:
        case "-":
            origin = Origin(text, "docker-archive", platform)
            return archive.read_stream(_standard_input(), origin, None, visit)
        case "path" | "docker-archive" | "oci" | "oci-archive":
            return _from_path(target, platform, visit)
        case "docker":
            return _from_registry(target.value, Origin(text, "docker", platform), insecure)
        case "container":
            from auditor.images import daemon

            return daemon.read_container(target.value, Origin(text, "container", platform), visit)
        case "docker-daemon":
            from auditor.images import daemon

            return daemon.read_images(target.value, Origin(text, "docker-daemon", platform), visit)
        case _:
            return _from_name(text, platform, visit, insecure)


def _from_path(target: Target, platform: str | None, visit: Visit | None) -> tuple[Image, ...]:
    path = Path(os.path.expanduser(target.value))  # noqa: PTH111 - the other fails where there is no such user
    if path.is_dir():
        if target.transport in ("docker-archive", "oci-archive"):
            raise ImageError(f"{path}: a folder; {target.transport} wants a tar file, oci: a folder")
        return layout.read_images(path, Origin(target.text, "oci", platform), target.tag)
    if target.transport == "oci" and path.exists():
        raise ImageError(f"{path}: a file; oci wants a folder, oci-archive: a tar file")
    transport = "oci-archive" if target.transport == "oci-archive" else "docker-archive"
    return archive.read_images(HeldFile.open(path), Origin(target.text, transport, platform), target.tag, visit)


def _standard_input() -> BinaryIO:
    if sys.stdin.isatty():
        raise ImageError(
            "-: standard input is a terminal; pipe an archive in, as in `docker save IMAGE | image-audit scan -`"
        )
    return decompressed(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), 1 << 16))


def _from_registry(name: str, origin: Origin, insecure: bool) -> tuple[Image, ...]:
    from auditor.images import registry

    return registry.read_images(parse_reference(name), origin, insecure=insecure)


def _from_name(text: str, platform: str | None, visit: Visit | None, insecure: bool) -> tuple[Image, ...]:
    """Ask the engine first, then the registry; where both fail, say so of both."""
    from auditor.images import daemon

    try:
        return daemon.read_images(text, Origin(text, "docker-daemon", platform), visit)
    except (NotFound, Unreachable) as exc:
        first = exc
    try:
        return _from_registry(text, Origin(text, "docker", platform), insecure)
    except (ImageError, Unreachable) as second:
        raise type(second)(f"{first}; and {second}") from second
