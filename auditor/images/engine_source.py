"""An image of an engine, exported only if a layer of it is not in the cache.

`docker save` writes the whole image to disk before it sends a byte. An engine's description of an image lacks a part of
the config (times, authors, empty steps), so the JSON documents of an export are cached, without the texts that the
description has: auditor/codec/text_references.py. They count where the config in them has the digest that the engine
states as ID and lists the layers that the engine states. Engines store layers by their digests.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO, ClassVar, cast

from auditor.codec.text_references import Piece, joined_document, literal_text, split_document, strings_of
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID
from auditor.core.errors import Damaged, ImageError, NotFound
from auditor.core.limits import Limits
from auditor.images.archive import ArchiveStream, walk_stream
from auditor.images.archive_images import digest_in_path, images_of
from auditor.images.engine import EngineClient
from auditor.images.engine_streams import CHUNK, ChunkStream, saved_image
from auditor.images.manifest import Origin
from auditor.images.members import BufferedMember, Member, Members
from auditor.images.source import Image, Layer, LayerRef

_MAX_BYTES = 1 << 20
"""Bytes of an export's documents that are cached."""
_FORM = 1
"""Version of the cached form."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as its engine describes it. `engine` is the version of the engine, which decides on the export's form.

    `texts` are those of config and history, in a fixed order; they may contain secrets.
    """

    id: str
    size: int
    diff_ids: tuple[DiffID, ...]
    engine: str
    texts: tuple[str, ...]

    @classmethod
    def of(cls, client: EngineClient, attributes: Mapping[str, Any]) -> StoredImage:
        """Ask the engine for the history of an image, besides its `attributes`. Raises Damaged."""
        image_id = attributes["Id"]
        steps = [(step.get("CreatedBy"), step.get("Comment")) for step in client.api.history(image_id) or ()]  # type: ignore[no-untyped-call]
        config = [attributes.get(key) for key in ("Config", "ContainerConfig", "Comment", "Author")]
        texts = dict.fromkeys(strings_of([*config, *map(list, steps)]))
        return cls(
            image_id,
            attributes.get("Size") or 0,
            stated_diff_ids(attributes),
            " ".join(str(client.server.get(key)) for key in ("Version", "Os", "Arch")),
            tuple(filter(None, texts)),
        )


def stated_diff_ids(attributes: Mapping[str, Any]) -> tuple[DiffID, ...]:
    """Return the layers of an image from the engine's description. Raises Damaged."""
    try:
        return tuple(DiffID(item) for item in (attributes.get("RootFS") or {}).get("Layers") or ())
    except ImageError as exc:
        raise Damaged(f"the engine's description of image {attributes.get('Id')}: {exc}") from None


class EngineSource:
    """An image of the engine. Implements `ImageSource`."""

    def __init__(self, stored: StoredImage, origin: Origin) -> None:
        self._stored, self._origin = stored, origin
        self._archive = ArchiveStream(lambda: saved_image(stored.id, origin.limits), origin, None)
        self._cached: tuple[Image, ...] = ()

    def streams(self) -> Iterator[tuple[LayerRef, BinaryIO]]:
        """Yield the layers of an export; nothing where the cache has the record of each layer."""
        self._cached = self._from_cache()
        if not self._cached:
            self._origin.progress.exporting(self._stored.size)
            yield from self._archive.streams()

    def images(self) -> tuple[Image, ...]:
        """Return the image from the cached documents or from the export."""
        if self._cached:
            return self._cached
        images = self._archive.images()
        if self._is_whole(images):
            self._keep()
        return images

    def rereadable_images(self) -> tuple[Image, ...]:
        """Export the image to an unlinked temporary file and return it."""
        self._origin.progress.exporting(self._stored.size)
        return self._archive.rereadable_images()

    def _is_whole(self, images: tuple[Image, ...]) -> bool:
        """Whether the images are the one that the engine describes, with nothing skipped."""
        return [(image.id, image.config.diff_ids, image.skipped) for image in images] == [
            (self._stored.id, self._stored.diff_ids, ())
        ]

    def _key(self) -> str:
        return f"{self._stored.id} {self._stored.engine} {_FORM}"

    def _from_cache(self) -> tuple[Image, ...]:
        cache, origin = self._origin.exports, self._origin
        data = cache.export(self._key()) if cache else None
        if cache is None or data is None:
            return ()
        try:
            members = {path: self._member(path, pieces) for path, pieces in json.loads(data).items()}
            images = images_of(Members.restored(origin.target, origin.limits, members), origin, None)
        except (ImageError, ValueError, LookupError, TypeError):  # another platform, or other texts
            return ()
        if not self._is_whole(images):
            return ()
        images = tuple(replace(image, layers=tuple(map(self._exportable, image.layers))) for image in images)
        return images if all(cache.has_record(layer) for image in images for layer in image.layers) else ()

    def _member(self, path: str, stored: str | list[Any]) -> Member:
        """Return a member in its cached form: the path of a layer in the archive, or the pieces of a document."""
        if isinstance(stored, str):
            return LayerRef(stored, 0, digest_in_path(path))
        pieces: list[Piece] = [piece if isinstance(piece, str) else (piece[0], piece[1]) for piece in stored]
        return BufferedMember(joined_document(pieces, self._stored.texts))

    def _exportable(self, layer: Layer) -> Layer:
        match layer.content:
            case LayerRef(name=path):
                return replace(layer, content=ExportedLayer(self._stored.id, path, self._origin.limits))
            case _:
                return layer

    def _keep(self) -> None:
        """Cache the documents of the export."""
        cache, what = self._origin.exports, f"{self._origin.target}: "
        if cache is None:
            return
        stored: dict[str, str | tuple[Piece, ...]] = {}
        size = 0
        for path, member in self._archive.used_members().items():
            match member:
                case BufferedMember(data=document):
                    size += len(document)
                    if size > _MAX_BYTES:
                        return
                    stored[path] = split_document(document, self._stored.texts)
                case LayerRef(name=name):
                    stored[path] = name.removeprefix(what)
        literals = "\n".join(literal_text(pieces) for pieces in stored.values() if not isinstance(pieces, str))
        cache.keep_export(self._key(), json.dumps(stored).encode(), literals)


@dataclass(frozen=True, slots=True)
class ExportedLayer:
    """A layer of an engine's image, read from an export. `path` is its path there."""

    addressed_by_digest: ClassVar[bool] = True

    image_id: str
    path: str
    limits: Limits

    def open(self) -> BinaryIO:
        """Return the layer from an export that starts with the first read. Raises NotFound, Unreachable."""
        return cast(BinaryIO, io.BufferedReader(ChunkStream(self._chunks()), 1 << 16))

    def _chunks(self) -> Iterator[bytes]:
        with saved_image(self.image_id, self.limits) as stream:
            for header, body in walk_stream(stream, self.image_id, self.limits):
                if header.path == self.path:
                    while chunk := body.read(CHUNK):
                        yield chunk
                    return
        raise NotFound(f"{self.image_id}: the engine's export lacks {self.path}")
