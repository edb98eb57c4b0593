"""Images of a Docker engine, or of Podman's service, through the Docker API v1.41.

`GET /images/NAME/get` streams an image as a docker-archive, which is read in one pass.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import docker
from docker import DockerClient

from auditor.codec.compression import decompressed
from auditor.core.digests import DiffID
from auditor.core.errors import Damaged, ImageError, NotFound, Unreachable
from auditor.core.limits import Limits
from auditor.images import archive
from auditor.images.engine import engine, engine_errors
from auditor.images.manifest import Origin
from auditor.images.source import AmendedSource, ImageSource

CHUNK = 1 << 21
"""Bytes that one read of an engine's stream asks for."""


def open_image(name: str, origin: Origin) -> ImageSource:
    """Open an image of the engine. Raises NotFound, Unreachable."""
    with engine() as client:
        attributes = _inspect(client, name)
    exported = archive.ArchiveStream(lambda: saved_image(attributes["Id"], origin.limits), origin, None)
    return AmendedSource(exported, lambda image: replace(image, digest=None, names=_names(attributes)))


@contextmanager
def saved_image(image_id: str, limits: Limits) -> Iterator[BinaryIO]:
    """Stream an image as `docker save` writes it."""
    with engine() as client:
        chunks = client.api.get_image(image_id, chunk_size=CHUNK)
        with io.BufferedReader(ChunkStream(chunks), 1 << 16) as stream:
            yield decompressed(stream, limits)


class ChunkStream(io.RawIOBase):
    """A stream over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            with engine_errors():  # the reader may be outside of the connection's own context
                chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        memoryview(buffer)[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@dataclass(frozen=True, slots=True)
class EngineImage:
    """The engine's description of an image, available without an export."""

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    diff_ids: tuple[DiffID, ...]


def inspect(name: str) -> EngineImage:
    """Describe one image of the engine. Raises NotFound, Unreachable."""
    with engine() as client:
        return _described(_inspect(client, name))


def tagged_images() -> list[EngineImage]:
    """Describe all images of the engine that have a name. Raises Unreachable."""
    found = []
    with engine() as client:
        for item in client.api.images():
            if item.get("RepoTags") or item.get("RepoDigests"):
                try:
                    found.append(_described(client.api.inspect_image(item["Id"])))  # type: ignore[no-untyped-call]
                except docker.errors.NotFound:  # removed since it was listed
                    continue
    return found


def tags() -> tuple[str, ...]:
    """Return every NAME:TAG of the engine. Raises Unreachable."""
    with engine() as client:
        return tuple(
            sorted(tag for item in client.api.images() for tag in item.get("RepoTags") or () if "<" not in tag)
        )


def containers_of(image_ids: Collection[str]) -> list[str]:
    """Return the names of the containers, stopped ones included, that use one of the images. Raises Unreachable."""
    with engine() as client:
        containers = client.api.containers(all=True)
    return [item["Names"][0].lstrip("/") for item in containers if item["ImageID"] in image_ids and item.get("Names")]


def load(path: Path) -> None:
    """Load a docker-archive with its names into the engine. Raises Unreachable with the engine's error."""
    with engine() as client, path.open("rb") as stream:
        for line in client.api.load_image(stream) or ():  # type: ignore[no-untyped-call]
            if isinstance(line, dict) and line.get("error"):
                raise Unreachable(f"the engine can't load {path.name}: {line['error']}")


def rename(image_id: str | None, name: str) -> None:
    """Point a name to an image; remove the name if no ID is given. Raises NotFound, Unreachable."""
    with engine() as client:
        if image_id is None:
            client.api.remove_image(name)
        else:
            repository, _, tag = name.rpartition(":")
            client.api.tag(image_id, repository, tag)


@contextmanager
def exported(name: str) -> Iterator[BinaryIO]:
    """Stream the `docker export` of a container that is created and never started. Raises NotFound, Unreachable."""
    with engine() as client:
        image = _inspect(client, name)["Id"]
        container = client.api.create_container(image, ["none"], network_disabled=True)["Id"]
        try:
            with io.BufferedReader(ChunkStream(client.api.export(container, chunk_size=CHUNK)), 1 << 16) as stream:
                yield cast(BinaryIO, stream)
        finally:
            client.api.remove_container(container, v=True)


def _inspect(client: DockerClient, name: str) -> dict[str, Any]:
    try:
        attributes: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    except docker.errors.NotFound:
        raise NotFound(f"{name}: the engine has no such image; `docker images` lists its images") from None
    return attributes


def _names(attributes: dict[str, Any]) -> tuple[str, ...]:
    return tuple(attributes.get("RepoTags") or ())


def _described(attributes: dict[str, Any]) -> EngineImage:
    try:
        diff_ids = tuple(DiffID(item) for item in (attributes.get("RootFS") or {}).get("Layers") or ())
    except ImageError as exc:
        raise Damaged(f"the engine's description of image {attributes.get('Id')}: {exc}") from None
    return EngineImage(attributes["Id"], _names(attributes), tuple(attributes.get("RepoDigests") or ()), diff_ids)
