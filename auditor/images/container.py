"""A container of the engine: its image, and its writable layer as one more layer.

The writable layer is built from the engine's list of changes and its archive calls. Source: Docker Engine API v1.41.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import docker
from docker import DockerClient

from auditor.core.dataclass import dataclass
from auditor.core.errors import NotFound
from auditor.core.image_config import HistoryStep
from auditor.images.engine import engine
from auditor.images.engine_source import EngineSource, StoredImage
from auditor.images.engine_streams import CHUNK, ChunkStream
from auditor.images.manifest import Origin
from auditor.images.source import AmendedSource, Image, ImageSource, Layer

_MODIFIED, _ADDED, _DELETED = 0, 1, 2  # the kinds of GET /containers/ID/changes


def open_container(name: str, origin: Origin) -> ImageSource:
    """Open a container's image and its writable layer. Raises NotFound, Unreachable."""
    with engine() as client:
        try:
            container = client.api.inspect_container(name)
        except docker.errors.NotFound:
            raise NotFound(f"container:{name}: the engine has no such container; `docker ps -a` lists them") from None
        attributes = client.api.inspect_image(container["Image"])  # type: ignore[no-untyped-call]
        source = EngineSource(StoredImage.of(client, attributes), origin)
    layer = Layer(WritableLayer(container["Id"]), None, None, None)
    step = HistoryStep(
        container.get("Created"), f"a process in container {name}", f"writable layer of container {name}", empty=False
    )

    def with_writable_layer(image: Image) -> Image:
        config = replace(
            image.config, history=(*image.config.history, step), raw=_committed_config(image, container, step)
        )
        return replace(image, digest=None, layers=(*image.layers, layer), config=config)

    return AmendedSource(source, with_writable_layer)


def _committed_config(image: Image, container: dict[str, Any], step: HistoryStep) -> dict[str, Any]:
    """Return the config that `docker commit` would write: the image's, overridden by the container's."""
    history = [*(image.config.raw.get("history") or []), {"created_by": step.created_by, "comment": step.comment}]
    return {**image.config.raw, "config": container.get("Config") or {}, "history": history}


@dataclass(frozen=True, slots=True)
class WritableLayer:
    """A container's changes as a layer tar, as `docker commit` would store them."""

    container_id: str

    def open(self) -> BinaryIO:
        """Return the tar as a stream that is generated while it is read. Raises Unreachable."""
        return io.BufferedReader(ChunkStream(self._blocks()), 1 << 16)

    def _blocks(self) -> Iterator[bytes]:
        with engine() as client:
            changes = client.api.diff(self.container_id) or []
            kinds = {change["Path"].lstrip("/"): change["Kind"] for change in changes}
            for path in sorted(path for path, kind in kinds.items() if kind == _DELETED):
                folder, name = posixpath.split(path)
                yield tarfile.TarInfo(posixpath.join(folder, ".wh." + name)).tobuf(tarfile.PAX_FORMAT)
            for path in _requested_paths(kinds):
                yield from _tar_blocks(client, self.container_id, path, kinds)
        yield bytes(2 * 512)


def _requested_paths(kinds: dict[str, int]) -> list[str]:
    """Return the paths to request from the engine. An added folder arrives with its content."""
    requested: list[str] = []
    added_folders: set[str] = set()
    for path in sorted(path for path, kind in kinds.items() if kind != _DELETED):
        if any(parent in added_folders for parent in _parents(path)):
            continue
        requested.append(path)
        if kinds[path] == _ADDED:
            added_folders.add(path)
    return requested


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _tar_blocks(client: DockerClient, container: str, path: str, kinds: dict[str, int]) -> Iterator[bytes]:
    """Yield the tar blocks of one changed path, with full names; of a changed folder only its own entry."""
    try:
        chunks, _ = client.api.get_archive(container, "/" + path, chunk_size=CHUNK)
    except docker.errors.NotFound:  # a socket, or deleted since the list of changes was made
        return
    with tarfile.open(fileobj=io.BufferedReader(ChunkStream(chunks), 1 << 16), mode="r|") as source:
        for member in source:
            member.name = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.name))
            if member.name not in kinds:  # a mounted volume's content does not belong to the layer
                continue
            if member.islnk():
                member.linkname = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            member.pax_headers = {}
            yield member.tobuf(tarfile.PAX_FORMAT)
            body = source.extractfile(member) if member.isreg() else None
            if body is not None:
                while chunk := body.read(CHUNK):
                    yield chunk
                yield bytes(-member.size % 512)
            if kinds[path] == _MODIFIED and member.isdir():
                return
