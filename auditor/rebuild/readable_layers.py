"""Layers that can be read again, and the file system that they show once extracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.limits import Limits
from auditor.images.source import Layer
from auditor.layers.listing import Listing
from auditor.rebuild.extraction import IMPLIED_MODE, SETGID, ExtractedInode, ExtractedLayer, OverlayNode
from auditor.rebuild.layer_headers import LayerHeaders, read_headers
from auditor.rebuild.layer_reader import LayerReader
from auditor.rebuild.tar_headers import EntryMetadata, combined_metadata, unpacked_metadata


@dataclass(frozen=True, slots=True)
class ReadableLayers:
    """Layers of one image with their listings; `read_headers` adds their headers and their extracted files.

    `image` names the image in errors.
    """

    image: str
    layers: list[Layer]
    listings: list[Listing]
    headers: dict[int, LayerHeaders]
    limits: Limits
    extracted: list[ExtractedLayer] = field(default_factory=list)

    def reader(self, number: int) -> LayerReader:
        """Open one layer."""
        return LayerReader(self.layers[number], f"{self.image}: layer {number}", self.limits)

    def read_headers(self, *, whole: bool) -> None:
        """Read the headers of all layers. With `whole`, keep the stored bytes of folders and hard linked files."""
        for number, listing in enumerate(self.listings):
            keep = _kept_whole(self.listings, number) if whole else set()
            layer = ExtractedLayer(number, tuple(self.extracted))
            with self.reader(number) as reader:
                self.headers[number] = read_headers(reader, listing, keep.__contains__, layer)
            self.extracted.append(layer)

    def start(self, at: FileVersion) -> int:
        """Return the offset of an entry's headers in the tar."""
        return self.headers[at.layer].starts[at.entry]

    def metadata_of(self, at: FileVersion) -> bytes:
        """Return an entry's metadata in packed form."""
        return self.headers[at.layer].metadata[at.entry]


def _kept_whole(listings: Sequence[Listing], number: int) -> set[int]:
    listing = listings[number]
    targets = {target for some in listings for e, target in some.links.items() if some.kinds[e] == EntryKind.HARDLINK}
    linked_to = {e for e, path in enumerate(listing.paths) if path in targets} if targets else set()
    kinds = (EntryKind.DIR, EntryKind.HARDLINK)
    return linked_to | {entry for entry, kind in enumerate(listing.kinds) if kind in kinds}


@dataclass(frozen=True, slots=True)
class FileSystem:
    """File system of an image; `digests` are the verified digests of its layers."""

    readable: ReadableLayers
    root: OverlayNode
    digests: tuple[Digest, ...]

    def path(self, at: FileVersion) -> str:
        """Return the path of an entry."""
        return self.readable.listings[at.layer].paths[at.entry]

    def metadata_of(self, inode: ExtractedInode) -> EntryMetadata:
        """Return the visible metadata of a file."""
        metadata = [unpacked_metadata(self.readable.metadata_of(at)) for at in inode.metadata_entries]
        if not metadata:
            return EntryMetadata(IMPLIED_MODE | SETGID * inode.setgid, 0, 0, 0)
        meta = combined_metadata(metadata, symlink=inode.kind is EntryKind.SYMLINK)
        timed = unpacked_metadata(self.readable.metadata_of(inode.timed)) if inode.timed is not None else meta
        return replace(meta, mtime_ns=timed.mtime_ns)

    def packed_metadata_of(self, inode: ExtractedInode) -> tuple[bytes, ...]:
        """Return the packed metadata of all entries that set it: a cheap first comparison."""
        timed = () if inode.timed is None else (inode.timed,)
        return tuple(self.readable.metadata_of(at) for at in (*inode.metadata_entries, *timed))
