"""Images and containers of a Docker engine, or of Podman's service, through the Docker API.

An image comes as the stream of `GET /images/NAME/get`, read in one pass. A container adds its writable layer, made of
the engine's diff and archive calls. Source: Docker Engine API v1.41.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from auditor.codec.compression import decompressed
from auditor.core.digests import DiffID
from auditor.core.errors import Damaged, ImageError, NotFound, Unreachable
from auditor.core.image_config import HistoryStep
from auditor.core.limits import Limits
from auditor.images import archive
from auditor.images.archive import Visit
from auditor.images.engine import engine
from auditor.images.manifest import Origin
from auditor.images.source import Image, Layer, Passed

if TYPE_CHECKING:
    from docker import DockerClient

_CHUNK = 1 << 21
_MODIFIED, _ADDED, _DELETED = 0, 1, 2  # the kinds of GET /containers/ID/changes


def read_images(name: str, origin: Origin, visit: Visit | None) -> tuple[Image, ...]:
    """Read an image of the engine. Raises NotFound, Unreachable."""
    with engine() as client:
        attributes = _inspect(client, name)
        with _exported(client, attributes["Id"], origin.limits) as stream:
            images = archive.read_stream(stream, origin, None, visit)
    return tuple(replace(image, digest=None, names=_names(attributes)) for image in images)


def read_container(name: str, origin: Origin, visit: Visit | None) -> tuple[Image, ...]:
    """Read a container: its image, and its writable layer as one more. Raises NotFound, Unreachable."""
    import docker

    with engine() as client:
        try:
            container = client.api.inspect_container(name)
        except docker.errors.NotFound:
            raise NotFound(f"container:{name}: the engine has no such container; `docker ps -a` lists them") from None
        with _exported(client, container["Image"], origin.limits) as stream:
            images = archive.read_stream(stream, origin, None, visit)
    content = WritableLayer(container["Id"])
    layer = Layer(content, None, None, None)
    command = " ".join([container.get("Path") or "", *(container.get("Args") or [])]).strip()
    step = HistoryStep(container.get("Created"), command, f"writable layer of container {name}", empty=False)
    return tuple(
        replace(
            image,
            digest=None,
            layers=(*image.layers, layer if visit is None else _visited(layer, content, visit, origin)),
            config=replace(image.config, history=(*image.config.history, step), raw=_running(image, container, step)),
        )
        for image in images
    )


def _visited(layer: Layer, content: WritableLayer, visit: Visit, origin: Origin) -> Layer:
    with content.open() as stream:
        return replace(layer, content=Passed(visit(stream, f"{origin.target}: writable layer", None)))


def _running(image: Image, container: dict[str, Any], step: HistoryStep) -> dict[str, Any]:
    """Return the config that `docker commit` would write: the image's, with the container's own on top."""
    history = [*(image.config.raw.get("history") or []), {"created_by": step.created_by, "comment": step.comment}]
    return {**image.config.raw, "config": container.get("Config") or {}, "history": history}


@contextmanager
def _exported(client: DockerClient, image_id: str, limits: Limits) -> Iterator[BinaryIO]:
    chunks = client.api.get_image(image_id, chunk_size=_CHUNK)
    with io.BufferedReader(Chunks(chunks), 1 << 16) as stream:
        yield decompressed(stream, limits)


class Chunks(io.RawIOBase):
    """A stream over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        memoryview(buffer)[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _inspect(client: DockerClient, name: str) -> dict[str, Any]:
    import docker

    try:
        attributes: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    except docker.errors.NotFound:
        raise NotFound(f"{name}: the engine has no such image; `docker images` lists what it has") from None
    return attributes


def _names(attributes: dict[str, Any]) -> tuple[str, ...]:
    return tuple(attributes.get("RepoTags") or ())


@dataclass(frozen=True, slots=True)
class EngineImage:
    """What the engine says of an image without exporting it."""

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    diff_ids: tuple[DiffID, ...]


def inspect(name: str) -> EngineImage:
    """Describe one image of the engine. Raises NotFound, Unreachable."""
    with engine() as client:
        return _described(_inspect(client, name))


def load(path: Path) -> None:
    """Have the engine load a docker-archive, names included. Raises Unreachable with what the engine says."""
    with engine() as client, path.open("rb") as stream:
        for line in client.api.load_image(stream) or ():  # type: ignore[no-untyped-call]
            if isinstance(line, dict) and line.get("error"):
                raise Unreachable(f"the engine does not load {path.name}: {line['error']}")


def rename(image_id: str | None, name: str) -> None:
    """Have a name lead to an image, or to none where no ID is given. Raises NotFound, Unreachable."""
    with engine() as client:
        if image_id is None:
            client.api.remove_image(name)
        else:
            repository, _, tag = name.rpartition(":")
            client.api.tag(image_id, repository, tag)


@contextmanager
def exported(name: str) -> Iterator[BinaryIO]:
    """Give what `docker export` writes of a container that never runs. Raises NotFound, Unreachable."""
    with engine() as client:
        image = _inspect(client, name)["Id"]
        container = client.api.create_container(image, ["none"], network_disabled=True)["Id"]
        try:
            with io.BufferedReader(Chunks(client.api.export(container, chunk_size=_CHUNK)), 1 << 16) as stream:
                yield cast(BinaryIO, stream)
        finally:
            client.api.remove_container(container, v=True)


def containers_of(image_ids: Collection[str]) -> list[str]:
    """Return the names of all containers, stopped ones too, that stand on one of these images. Raises Unreachable."""
    with engine() as client:
        found = client.api.containers(all=True)
    return [item["Names"][0].lstrip("/") for item in found if item["ImageID"] in image_ids and item.get("Names")]


def tags() -> tuple[str, ...]:
    """Return every NAME:TAG of the engine. Raises Unreachable."""
    with engine() as client:
        return tuple(
            sorted(tag for item in client.api.images() for tag in item.get("RepoTags") or () if "<" not in tag)
        )


def tagged_images() -> list[EngineImage]:
    """Describe all images of the engine that have a name. Raises Unreachable."""
    import docker

    found = []
    with engine() as client:
        for item in client.api.images():
            if item.get("RepoTags") or item.get("RepoDigests"):
                try:
                    found.append(_described(client.api.inspect_image(item["Id"])))  # type: ignore[no-untyped-call]
                except docker.errors.NotFound:  # removed meanwhile
                    continue
    return found


def _described(attributes: dict[str, Any]) -> EngineImage:
    try:
        diff_ids = tuple(DiffID(item) for item in (attributes.get("RootFS") or {}).get("Layers") or ())
    except ImageError as exc:
        raise Damaged(f"the engine describes image {attributes.get('Id')}: {exc}") from None
    return EngineImage(attributes["Id"], _names(attributes), tuple(attributes.get("RepoDigests") or ()), diff_ids)


@dataclass(frozen=True, slots=True)
class WritableLayer:
    """A container's changes as a layer tar: what `docker commit` would freeze."""

    container_id: str

    def open(self) -> BinaryIO:
        """Return the tar as a stream, made while it is read. Raises Unreachable."""
        return io.BufferedReader(Chunks(self._blocks()), 1 << 16)

    def _blocks(self) -> Iterator[bytes]:
        with engine() as client:
            changes = client.api.diff(self.container_id) or []
            kinds = {change["Path"].lstrip("/"): change["Kind"] for change in changes}
            for path in sorted(path for path, kind in kinds.items() if kind == _DELETED):
                folder, name = posixpath.split(path)
                yield tarfile.TarInfo(posixpath.join(folder, ".wh." + name)).tobuf(tarfile.PAX_FORMAT)
            for path in _roots(kinds):
                yield from _members(client, self.container_id, path, kinds)
        yield bytes(2 * 512)


def _roots(kinds: dict[str, int]) -> list[str]:
    """The paths to ask the engine for: an added folder comes whole, so what lies below it is not asked again."""
    roots: list[str] = []
    whole: set[str] = set()
    for path in sorted(path for path, kind in kinds.items() if kind != _DELETED):
        if any(parent in whole for parent in _parents(path)):
            continue
        roots.append(path)
        if kinds[path] == _ADDED:
            whole.add(path)
    return roots


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _members(client: DockerClient, container: str, path: str, kinds: dict[str, int]) -> Iterator[bytes]:
    """Yield the tar blocks of one changed path, with full names; of a changed folder only itself."""
    import docker

    try:
        chunks, _ = client.api.get_archive(container, "/" + path, chunk_size=_CHUNK)
    except docker.errors.NotFound:  # a socket, or gone since the diff
        return
    with tarfile.open(fileobj=io.BufferedReader(Chunks(chunks), 1 << 16), mode="r|") as source:
        for member in source:
            member.name = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.name))
            if member.name not in kinds:  # what a mounted volume holds is no part of the layer
                continue
            if member.islnk():
                member.linkname = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            member.pax_headers = {}
            yield member.tobuf(tarfile.PAX_FORMAT)
            body = source.extractfile(member) if member.isreg() else None
            if body is not None:
                while chunk := body.read(_CHUNK):
                    yield chunk
                yield bytes(-member.size % 512)
            if kinds[path] == _MODIFIED and member.isdir():
                return
