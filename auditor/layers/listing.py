"""A layer's entries in columns. A million files must fit in memory, so there is no object for each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from auditor.codec.tar import Header
from auditor.model import Kind

# OCI image spec, layer.md#whiteouts.
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
AUFS_PREFIX = ".wh..wh."  # AUFS keeps its own files under this name; engines skip them


@dataclass(slots=True)
class Listing:
    """Entries in the order of the tar; column `i` of each belongs to entry `i`.

    `sizes` are body bytes in the tar, `offsets` where bodies start in it; `links` holds the targets of links.
    `whiteouts` are the paths that the layer removes from those below, `opaque` the folders that it empties.
    """

    paths: list[str] = field(default_factory=list)
    kinds: bytearray = field(default_factory=bytearray)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    links: dict[int, str] = field(default_factory=dict)
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def add(self, header: Header) -> None:
        """Append an entry, or note what it removes. How many there may be, the walker of the tar says."""
        path = header.path
        if WHITEOUT in path:
            folder, _, name = path.rpartition("/")
            if name == OPAQUE:
                self.opaque.append(folder)
                return
            if name.startswith(AUFS_PREFIX):
                return
            if name.startswith(WHITEOUT):
                self.whiteouts.append(f"{folder}/{name[4:]}" if folder else name[4:])
                return
        if not path and header.kind is not Kind.DIR:
            return  # nothing but a folder can be the root
        if header.kind in (Kind.SYMLINK, Kind.HARDLINK):
            self.links[len(self.paths)] = header.link
        self.paths.append(path)
        self.kinds.append(header.kind)
        self.sizes.append(header.size)
        self.offsets.append(header.offset)

    def become(self, other: Listing) -> None:
        """Take another listing's entries in place of one's own."""
        self.paths[:], self.kinds[:] = other.paths, other.kinds
        self.sizes[:], self.offsets[:] = other.sizes, other.offsets

    def at(self, offset: int) -> int:
        """Return the entry whose body holds the tar's byte `offset`, or -1."""
        entry = bisect_right(self.offsets, offset) - 1
        return entry if entry >= 0 and offset < self.offsets[entry] + self.sizes[entry] else -1

    def files(self) -> Iterator[int]:
        """Yield the entries that have content of their own."""
        return (entry for entry, kind in enumerate(self.kinds) if kind == Kind.FILE)


def listing_of(headers: Iterable[Header]) -> Listing:
    """Collect headers into a listing."""
    listing = Listing()
    for header in headers:
        listing.add(header)
    return listing


def plain_file(path: str, size: int) -> Listing:
    """Return the listing of a blob that is no tar: one file."""
    listing = Listing([path], bytearray([Kind.FILE]))
    listing.sizes.append(size)
    listing.offsets.append(0)
    return listing
