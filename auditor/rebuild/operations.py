"""Operations that write a rewritten layer, and the plan of each layer.

A plan keeps a layer, merges all layers from one up, or excises entries of one layer.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.entries import FileVersion
from auditor.layers.listing import WHITEOUT, Listing
from auditor.rebuild.extraction import IMPLIED_MODE


@dataclass(frozen=True, slots=True)
class CopyEntry:
    """Copy an entry, headers and body, byte for byte."""

    version: FileVersion


@dataclass(frozen=True, slots=True)
class AddFile:
    """Add a file: a path, the entry that holds the content, and the entries that set its metadata, in order."""

    path: str
    content: FileVersion
    metadata: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class AddLink:
    """Add a hard link: the entry `version` with another target, and the metadata that `metadata` set, in order."""

    version: FileVersion
    target: str
    metadata: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class AddFolder:
    """Add a folder with the metadata of an entry. An implied folder has none: it belongs to root and has `mode`."""

    path: str
    version: FileVersion | None
    mode: int = IMPLIED_MODE


@dataclass(frozen=True, slots=True)
class AddWhiteout:
    """Add a whiteout or an opaque whiteout; `path` includes the `.wh.` prefix."""

    path: str


def whiteout_of(path: str) -> AddWhiteout:
    """Return the whiteout that hides a path of a lower layer."""
    folder, _, name = path.rpartition("/")
    return AddWhiteout(f"{folder}/{WHITEOUT}{name}" if folder else WHITEOUT + name)


Operation = CopyEntry | AddFile | AddLink | AddFolder | AddWhiteout


_SHIFT = 40
"""Bits of a packed version that hold the entry; the bits above hold the layer."""


NO_VERSION = -1
"""Placeholder in arrays of packed versions."""


def pack_version(version: FileVersion) -> int:
    """Encode a file version as an integer; the order of versions is kept."""
    return version.layer << _SHIFT | version.entry


def unpack_version(number: int) -> FileVersion:
    """Decode an integer of `pack_version`."""
    return FileVersion(number >> _SHIFT, number & (1 << _SHIFT) - 1)


class OperationList:
    """Operations of a merged layer, in order. Copies, and folders under their own path, take eight bytes each."""

    def __init__(self, operations: Iterable[Operation], listings: Sequence[Listing]) -> None:
        self._listings = listings
        self._codes = array("q")
        self._others: list[Operation] = []
        for operation in operations:
            match operation:
                case CopyEntry(version):
                    self._codes.append(pack_version(version) * 2)
                case AddFolder(path, FileVersion() as version, _) if (
                    path == listings[version.layer].paths[version.entry]
                ):
                    self._codes.append(pack_version(version) * 2 + 1)
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
    """Keep layer `number` byte for byte."""

    number: int


@dataclass(frozen=True, slots=True)
class MergeLayers:
    """Replace all layers from `lowest` up by one layer."""

    lowest: int
    operations: Iterable[Operation]


@dataclass(frozen=True, slots=True)
class ExciseLayer:
    """Rewrite layer `number`; `replacements` maps an entry to the operations in its place, all others are copied."""

    number: int
    replacements: Mapping[int, tuple[Operation, ...]]


LayerPlan = KeepLayer | MergeLayers | ExciseLayer


def count_kept_layers(plans: Sequence[LayerPlan]) -> int:
    """Count the layers that stay byte for byte."""
    return sum(isinstance(plan, KeepLayer) for plan in plans)
