"""What every transport gives: an `Image`, whose layers are streams."""

from __future__ import annotations

import errno
import io
import os
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from auditor.errors import ImageError
from auditor.images.documents import Documents
from auditor.model import Config, DiffID, Digest, Skipped


class Content(Protocol):
    """The stored bytes of a layer, which can be read from the start any number of times."""

    def open(self) -> BinaryIO:
        """Return a stream with `readinto`; the caller closes it. Raises ImageError or Unreachable."""
        ...


class HeldFile:
    """An open file that is closed when nobody holds it any more. Reads name their place, so that all may share it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path) -> HeldFile:
        """Open a file for reading. Raises ImageError with what the system says."""
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as exc:
            raise ImageError(f"{path}: can't be read: {exc.strerror}") from exc

    @property
    def size(self) -> int:
        """Size in bytes; 0 for a pipe."""
        return os.fstat(self.descriptor).st_size

    def stream(self, offset: int = 0, size: int | None = None) -> io.BufferedReader[Any]:
        """Return a stream over [offset, offset+size), to the end of the file where no size is given."""
        return io.BufferedReader(_HeldReader(self, offset, sys.maxsize if size is None else offset + size), 1 << 16)


class _HeldReader(io.RawIOBase):
    def __init__(self, file: HeldFile, at: int, end: int) -> None:
        self._file, self._at, self._end = file, at, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        want = min(len(buffer), self._end - self._at)
        if want <= 0:
            return 0
        try:
            got = os.preadv(self._file.descriptor, [memoryview(buffer)[:want]], self._at)
        except OSError as exc:
            if exc.errno != errno.ESPIPE:
                raise ImageError(f"can't be read at byte {self._at}: {exc.strerror}") from exc
            got = os.readv(self._file.descriptor, [memoryview(buffer)[:want]])  # a pipe has no places
        self._at += got
        return got

    def tell(self) -> int:
        return self._at


@dataclass(frozen=True, slots=True)
class FileSlice:
    """The bytes [offset, offset+size) of a file."""

    file: HeldFile
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """Return a stream of its own over the slice."""
        return cast(BinaryIO, self.file.stream(self.offset, self.size))


@dataclass(frozen=True, slots=True)
class Passed:
    """A layer that could be read only once: what the visitor made of it when it passed."""

    record: Any


@dataclass(frozen=True, slots=True)
class Layer:
    """One file system layer; of an artifact, one blob.

    `digest` and `size` are of the stored bytes, `diff_id` of the uncompressed tar; None where nothing states them.
    `title` names a blob that is a plain file. `annotations` are those of the layer's descriptor.
    """

    content: Content | Passed
    diff_id: DiffID | None
    digest: Digest | None
    size: int | None
    title: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """One place in indexes that lists an image, and tells what its manifest does not.

    `entry` is its descriptor: annotations, platform, artifactType. `roots` are the annotations of the descriptors of
    index.json that lead to it. `index` is the outermost index between, None where there is none, and `above` the
    annotations and the artifactType of all such. `layout` are the annotations of index.json.
    """

    entry: Mapping[str, Any]
    roots: tuple[Mapping[str, str], ...]
    index: Digest | None
    above: Mapping[str, Any]
    layout: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform, or an artifact (`stacked` is false: its blobs don't lie on one another).

    `id` is the digest of the config, `digest` that of the manifest. `documents` are further JSON texts that travel
    with the image (attestations, an artifact's config) by the name that a report gives them. `annotations` are those
    of the manifest and of its descriptor, `manifest` is the manifest without config and layers.
    """

    target: str
    transport: str
    id: Digest | None
    digest: Digest | None
    config: Config = field(repr=False)  # holds texts with their secrets, as do annotations and documents
    layers: tuple[Layer, ...]
    names: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    documents: Documents = field(default_factory=Documents, repr=False)
    stacked: bool = True
    skipped: tuple[Skipped, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    listed: tuple[Listed, ...] = field(default=(), repr=False)
