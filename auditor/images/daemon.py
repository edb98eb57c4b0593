"""Images of a Docker engine, or of Podman's service, through the Docker API v1.41.

`GET /images/NAME/get` streams an image as a docker-archive, which is read in one pass.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import docker
from docker import DockerClient

from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID
from auditor.core.errors import NotFound, Unreachable
from auditor.images.engine import TIMEOUT_S, WHOLE_IMAGE_TIMEOUT_S, engine
from auditor.images.engine_source import EngineSource, StoredImage, stated_diff_ids
from auditor.images.engine_streams import CHUNK, ChunkStream
from auditor.images.manifest import Origin
from auditor.images.source import AmendedSource, ImageSource


def open_image(name: str, origin: Origin) -> ImageSource:
    """Open an image of the engine. Raises NotFound, Unreachable."""
    with engine() as client:
        attributes = _inspect(client, name)
        source = EngineSource(StoredImage.of(client, attributes), origin)
    return AmendedSource(source, lambda image: replace(image, digest=None, names=_names(attributes)))


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


def tags(timeout_s: int = TIMEOUT_S) -> tuple[str, ...]:
    """Return every NAME:TAG of the engine. Raises Unreachable, also if an answer takes more than `timeout_s`."""
    with engine(timeout_s) as client:
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
    with engine(WHOLE_IMAGE_TIMEOUT_S) as client, path.open("rb") as stream:
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
    digests = tuple(attributes.get("RepoDigests") or ())
    return EngineImage(attributes["Id"], _names(attributes), digests, stated_diff_ids(attributes))
