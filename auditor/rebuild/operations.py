"""What stands in a rewritten layer, and what becomes of each layer: the words in which plans are made."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditor.core.entries import FileVersion
from auditor.layers.listing import Listing
from auditor.rebuild.extraction import IMPLIED_MODE


@dataclass(frozen=True, slots=True)
class CopyEntry:
    """The entry as it stands, byte for byte."""

    at: FileVersion


@dataclass(frozen=True, slots=True)
class AddFile:
    """The bytes of `content` under `path`, with the metadata that the entries `metas` set, in order."""

    path: str
    content: FileVersion
    metadata: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class AddLink:
    """The hard link `at`, leading to `target`, with the metadata that the entries `metas` set, in order."""

    at: FileVersion
    target: str
    metadata: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class AddFolder:
    """A folder as its last entry says; where none does, as engines make it, with `mode`."""

    path: str
    meta: FileVersion | None
    mode: int = IMPLIED_MODE


@dataclass(frozen=True, slots=True)
class AddWhiteout:
    """A whiteout or an opaque marker; `path` is its own name in the tar."""

    path: str


Operation = CopyEntry | AddFile | AddLink | AddFolder | AddWhiteout


_SHIFT = 40
"""A version as a number: the layer above so many bits, the entry below."""


NO_VERSION = -1
"""No version's number."""


def pack_version(version: FileVersion) -> int:
    """Return a version as a number; numbers are in the order of versions."""
    return version.layer << _SHIFT | version.entry


def unpack_version(number: int) -> FileVersion:
    """Return the version that `number_of` gave a number."""
    return FileVersion(number >> _SHIFT, number & (1 << _SHIFT) - 1)


class OperationList:
    """The entries of a merged layer, in order; those that stay where they were in eight bytes each."""

    def __init__(self, operations: Iterable[Operation], listings: Sequence[Listing]) -> None:
        self._listings = listings
        self._codes = array("q")
        self._others: list[Operation] = []
        for operation in operations:
            match operation:
                case CopyEntry(at):
                    self._codes.append(pack_version(at) * 2)
                case AddFolder(path, FileVersion() as meta, _) if path == listings[meta.layer].paths[meta.entry]:
                    self._codes.append(pack_version(meta) * 2 + 1)
                case _:
                    self._others.append(operation)
                    self._codes.append(-len(self._others))

    def __iter__(self) -> Iterator[Operation]:
        for code in self._codes:
            version = unpack_version(code >> 1)
            if code < 0:
                yield self._others[-code - 1]
            elif code & 1:
                yield AddFolder(self._listings[version.layer].paths[version.entry], version)
            else:
                yield CopyEntry(version)


@dataclass(frozen=True, slots=True)
class KeepLayer:
    """Layer `number`, byte for byte."""

    number: int


@dataclass(frozen=True, slots=True)
class MergeLayers:
    """One layer for all from `lowest` up."""

    lowest: int
    operations: Iterable[Operation]


@dataclass(frozen=True, slots=True)
class ExciseLayer:
    """Layer `number` as it stands, but for the entries in `instead`, each with what takes its place."""

    number: int
    replacements: Mapping[int, tuple[Operation, ...]]


LayerPlan = KeepLayer | MergeLayers | ExciseLayer


def count_kept_layers(outputs: Sequence[LayerPlan]) -> int:
    """Count the layers that stay byte for byte."""
    return sum(isinstance(output, KeepLayer) for output in outputs)
