"""An opened target: its images, and the layer streams of archives that can be read only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any, BinaryIO, Protocol

from auditor.codec.file_slices import Content
from auditor.codec.json_documents import JsonDocuments
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.entries import Skipped
from auditor.core.errors import ImageError
from auditor.core.image_config import ImageConfig


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer in an archive that can be read only once: its name in messages and its offset in the archive.

    `digest` is the one in its path (`blobs/sha256/…`), not yet verified; None for a path without one.
    """

    name: str
    offset: int
    digest: Digest | None

    def open(self) -> BinaryIO:
        """Raise ImageError: the stream is over."""
        raise ImageError(f"{self.name}: comes from a stream that was already read. Save the archive to a file first.")


@dataclass(frozen=True, slots=True)
class Layer:
    """One file system layer; of an artifact, one blob.

    `digest` and `size` are of the stored bytes, `diff_id` of the uncompressed tar; None if neither manifest nor config
    states them. `title` is the file name of a blob that is a plain file. `annotations` are those of the layer's
    descriptor. A `content` that is a LayerRef can't be opened: its bytes come from `ImageSource.streams`.
    """

    content: Content
    diff_id: DiffID | None
    digest: Digest | None
    size: int | None
    title: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry for an image in an index, with the metadata that the image's manifest lacks.

    `entry` is its descriptor: annotations, platform, artifactType. `roots` are the annotations of the descriptors of
    index.json that lead to it. `index` is the digest of the outermost index in between, None without one; `above` has
    the annotations and the artifactType of all indexes in between. `layout` are the annotations of index.json.
    """

    entry: Mapping[str, Any]
    roots: tuple[Mapping[str, str], ...]
    index: Digest | None
    above: Mapping[str, Any]
    layout: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform, or an artifact (`stacked` is false: its blobs are not layers of one file system).

    `id` is the digest of the config, `digest` that of the manifest. `documents` are further JSON texts of the image
    (attestations, an artifact's config) by their names in reports. `annotations` are those of the manifest and of its
    descriptor; `manifest` is the manifest without config and layers.
    """

    target: str
    transport: str
    id: Digest | None
    digest: Digest | None
    config: ImageConfig = field(repr=False)  # contains secrets in clear, as do annotations and documents
    layers: tuple[Layer, ...]
    names: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    documents: JsonDocuments = field(default_factory=JsonDocuments, repr=False)
    stacked: bool = True
    skipped: tuple[Skipped, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    index_entries: tuple[IndexEntry, ...] = field(default=(), repr=False)


def short_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name of an image once: archives of the engine repeat `app:1` as `docker.io/library/app:1` and `1`."""
    short = dict.fromkeys(name.removeprefix("docker.io/library/").removeprefix("docker.io/") for name in names)
    tags = {name.rpartition(":")[2] for name in short if ":" in name}
    return tuple(name for name in short if name not in tags)


class ExportCache(Protocol):
    """Cache of the documents of engines' exports, beside the records of layers. store/records.py implements it."""

    def export(self, key: str) -> bytes | None:
        """Return the stored documents of an export."""
        ...

    def keep_export(self, key: str, data: bytes, literals: str) -> None:
        """Store the documents of an export, unless a rule finds a secret in `literals`, the texts in `data`."""
        ...

    def has_record(self, layer: Layer) -> bool:
        """Whether a layer that the engine stores by its digest needs no scan."""
        ...


class ImageSource(Protocol):
    """An opened target. Use it once: either `streams`, then `images`; or `rereadable_images` alone.

    Opening reads no layer. All methods raise ImageError and Unreachable.
    """

    def streams(self) -> Iterator[tuple[LayerRef, BinaryIO]]:
        """Yield the layers that can be read only once, in archive order; read each before asking for the next.

        Yields nothing where all layers can be opened from their images.
        """
        ...

    def images(self) -> tuple[Image, ...]:
        """Return the images, one a platform. Call it once `streams` is exhausted."""
        ...

    def rereadable_images(self) -> tuple[Image, ...]:
        """Return the images, with layers that can be opened any number of times."""
        ...


@dataclass(frozen=True, slots=True)
class RereadableSource:
    """A source of layers that can be opened again: a file, a folder, a registry."""

    found: tuple[Image, ...]

    def streams(self) -> Iterator[tuple[LayerRef, BinaryIO]]:
        """Yield nothing."""
        return iter(())

    def images(self) -> tuple[Image, ...]:
        """Return the images."""
        return self.found

    def rereadable_images(self) -> tuple[Image, ...]:
        """Return the images."""
        return self.found


@dataclass(frozen=True, slots=True)
class AmendedSource:
    """A source with a change applied to each of its images."""

    inner: ImageSource
    change: Callable[[Image], Image]

    def streams(self) -> Iterator[tuple[LayerRef, BinaryIO]]:
        """Yield the streams of the inner source."""
        return self.inner.streams()

    def images(self) -> tuple[Image, ...]:
        """Return the changed images."""
        return tuple(map(self.change, self.inner.images()))

    def rereadable_images(self) -> tuple[Image, ...]:
        """Return the changed images."""
        return tuple(map(self.change, self.inner.rereadable_images()))
