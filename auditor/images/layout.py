"""An OCI image layout in a folder. Source: OCI image spec, image-layout.md."""

from __future__ import annotations

from pathlib import Path

from auditor.codec.descriptors import Descriptor
from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.codec.hashing import verified_document
from auditor.core.errors import Damaged, NotAnImage, NotFound
from auditor.core.limits import Limits, limit_note
from auditor.images import manifest
from auditor.images.archive import require_regular
from auditor.images.layout_index import read_layout_index
from auditor.images.manifest import Origin
from auditor.images.source import Image


def read_images(folder: Path, origin: Origin, tag: str | None) -> tuple[Image, ...]:
    """Read the images of a layout. Raises NotAnImage, NotFound, Damaged."""
    index = folder / "index.json"
    if not index.is_file():
        raise NotAnImage(f"{folder}: a folder, but no OCI layout: it has no index.json")
    found = read_layout_index(read_document(index, origin.limits), origin.target, origin.limits, tag)
    return manifest.images(_Folder(folder, origin.limits), found.descriptors, origin, found.annotations, found.skipped)


def read_document(path: Path, limits: Limits) -> bytes:
    """Return the JSON document of a file. Raises NotAnImage, Damaged."""
    require_regular(path)
    most = limits.json_bytes
    data = SharedFile.open(path).stream().read(most + 1)
    if len(data) > most:
        raise Damaged(f"{path}: too large for a JSON document {limit_note('json-bytes')}")
    return data


class _Folder:
    """The blob store of a layout's `blobs` folder."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits

    def _path(self, descriptor: Descriptor) -> Path:
        path = self._folder / "blobs" / descriptor.digest.algorithm / descriptor.digest.hex
        if not path.exists():
            raise NotFound(f"{self._folder}: lacks blob {descriptor.digest}")
        require_regular(path)
        return path

    def document(self, descriptor: Descriptor) -> bytes:
        return verified_document(
            read_document(self._path(descriptor), self._limits),
            descriptor.digest,
            f"{self._folder}: blob {descriptor.digest}",
        )

    def content(self, descriptor: Descriptor) -> FileSlice:
        file = SharedFile.open(self._path(descriptor))
        return FileSlice(file, 0, file.size)
