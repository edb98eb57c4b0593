"""The table of transports: how each opens a target, and the properties that other packages decide by.

A new transport is one module that returns an `ImageSource`, and one row of `TRANSPORTS`. Source of the names and the
syntax: containers-transports(5).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from auditor.codec.file_slices import SharedFile
from auditor.core.dataclass import dataclass
from auditor.core.errors import ImageError
from auditor.images import archive, layout
from auditor.images.manifest import Origin
from auditor.images.source import ImageSource, RereadableSource


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A target without its prefix, the tag that selects in an archive, and the options of opening."""

    value: str
    tag: str | None
    origin: Origin
    insecure: bool


@dataclass(frozen=True, slots=True)
class Transport:
    """One way to reach images. `prefix` marks its targets; a target without a known prefix is resolved by content."""

    name: str
    prefix: str
    open: Callable[[OpenRequest], ImageSource]
    """Raises ImageError, Unreachable."""

    needs_engine: bool = False
    """Opening asks the Docker engine."""

    in_engine: bool = False
    """A target is an image of the engine, which can be tagged, exported and compared there."""

    in_registry: bool = False
    """A target is a registry reference, to which a result can be pushed."""

    is_container: bool = False
    """A target is a container. Its writable layer belongs to no image name."""

    has_names: bool = False
    """A target is itself a name of the image or container, and no path."""

    has_tag: bool = False
    """`PREFIX:FILE:TAG` selects one image by its tag."""

    file_ending: str | None = None
    """Ending that makes `flatten -o` write this form, empty for its default; None where a target is no single file."""

    import_command: tuple[str, ...] = ()
    """Command that loads the image into the engine: `{value}` is the path, `{target}` the target, `{name}` the name."""

    def bare(self, target: str) -> str:
        """Return a target without the prefix."""
        return target.removeprefix(self.prefix)


def _open_engine_image(request: OpenRequest) -> ImageSource:
    from auditor.images import daemon  # the Docker SDK takes 0.1 s to import, which archives need not pay

    return daemon.open_image(request.value, request.origin)


def _open_container(request: OpenRequest) -> ImageSource:
    from auditor.images import container  # the Docker SDK, as above

    return container.open_container(request.value, request.origin)


def _open_registry_image(request: OpenRequest) -> ImageSource:
    from auditor.images import remote  # requests, as above

    return RereadableSource(remote.open_reference(request.value, request.origin, insecure=request.insecure))


def _open_layout(request: OpenRequest) -> ImageSource:
    path = _local_path(request.value)
    if path.exists() and not path.is_dir():
        raise ImageError(f"{path}: is a file; `oci:` takes a folder, `oci-archive:` a tar file")
    return RereadableSource(layout.read_images(path, request.origin, request.tag))


def _open_archive(request: OpenRequest) -> ImageSource:
    path = _local_path(request.value)
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; `{request.origin.transport}:` takes a tar file, `oci:` a folder")
    return archive.open_file(SharedFile.open(path), request.origin, request.tag)


def _local_path(text: str) -> Path:
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises where the user does not exist


_SKOPEO = ("skopeo", "copy", "{target}", "docker-daemon:{name}")

TRANSPORTS: Mapping[str, Transport] = {
    row.name: row
    for row in (
        Transport(
            "docker-daemon", "docker-daemon:", _open_engine_image, needs_engine=True, in_engine=True, has_names=True
        ),
        Transport(
            "docker-archive", "docker-archive:", _open_archive, has_tag=True, file_ending="",
            import_command=("docker", "load", "-i", "{value}"),
        ),
        Transport(
            "oci-archive", "oci-archive:", _open_archive, has_tag=True, file_ending=".oci.tar", import_command=_SKOPEO
        ),
        Transport("oci", "oci:", _open_layout, has_tag=True, import_command=_SKOPEO),
        Transport("container", "container:", _open_container, needs_engine=True, is_container=True, has_names=True),
        Transport("docker", "docker://", _open_registry_image, in_registry=True, has_names=True),
    )
}  # fmt: skip
"""All transports by name: the name that reports show as `transport`."""


def transport_of(target: str) -> Transport | None:
    """Return the transport of a target's prefix; None for a bare name, a path and `-`."""
    return next((row for row in TRANSPORTS.values() if target.startswith(row.prefix)), None)
