"""Headers of a layer: offsets, metadata and stored bytes that its listing does not hold."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import field

from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import Header, padded
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.errors import ImageError
from auditor.core.text import display_path
from auditor.layers.listing import WHITEOUT, Listing, overlay_attributes
from auditor.layers.path_resolver import PathResolver
from auditor.rebuild.extraction import ExtractedLayer
from auditor.rebuild.layer_reader import LayerReader
from auditor.rebuild.tar_headers import own_headers, packed_metadata, renamed_headers

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredHeader:
    """Parsed header of an entry, and the stored bytes of all its headers."""

    header: Header
    group: bytes


@dataclass(slots=True)
class LayerHeaders:
    """Headers of a layer, by entry of its listing.

    `starts` are the offsets of the headers, `metadata` is packed. `whiteouts` are byte ranges [start, end), each with
    its resolved path where the tar names it through a symbolic link. `folders` and `stored` hold bytes of requested
    entries, of sparse files, and of `renamed` ones: entries with a path or hard link target through a symbolic link.
    `extra_headers` are entries with headers that are not copied. `repeated_folders` have several entries in the tar,
    some through links; `folders` combines the metadata of all entries so far.
    """

    starts: array[int] = field(default_factory=lambda: array("q"))
    metadata: list[bytes] = field(default_factory=list)
    whiteouts: list[tuple[int, int, str | None]] = field(default_factory=list)
    folders: dict[int, bytes] = field(default_factory=dict)
    stored: dict[int, StoredHeader] = field(default_factory=dict)
    extra_headers: set[int] = field(default_factory=set)
    renamed: set[int] = field(default_factory=set)
    repeated_folders: set[int] = field(default_factory=set)


def read_headers(
    reader: LayerReader, listing: Listing, keep: Callable[[int], bool], extracted: ExtractedLayer | None = None
) -> LayerHeaders:
    """Read the headers of a listed layer, and extract the entries into `extracted`.

    Bodies of uncompressed layers are skipped. `keep` selects the entries to store with their bytes. Raises ImageError
    where an extended attribute of an entry controls an overlay file system.
    """
    collector, walker = _Collector(reader, listing, keep, extracted), TarParser(reader.limits)
    at = start = 0
    tail = b""
    while not walker.ended and (block := reader.some(at, _BLOCK)):
        pending, low = tail + block, at - len(tail)
        for header in walker.feed(memoryview(block), at):
            collector.add(header, start, pending[start - low : header.offset - low])
            start = header.offset + padded(header.size)
        tail = pending[start - low :] if walker.is_mid_entry else b""
        at = at + len(block) if walker.is_mid_entry else walker.position
    if extracted is not None:
        extracted.finish()
    return collector.headers


class _Collector:
    """Collector of a layer's headers, added in the order of the tar."""

    def __init__(
        self, reader: LayerReader, listing: Listing, keep: Callable[[int], bool], extracted: ExtractedLayer | None
    ) -> None:
        self.headers = LayerHeaders()
        self._what, self._listing, self._is_kept, self._extracted = reader.what, listing, keep, extracted
        self._entry = 0
        self._metadata: dict[bytes, bytes] = {}  # shares equal values
        self._repeated = _repeated_folders(listing)
        has_markers = listing.whiteouts or listing.opaque
        self._links = PathResolver(reader.limits) if has_markers and EntryKind.SYMLINK in listing.kinds else None

    def add(self, header: Header, start: int, group: bytes) -> None:
        """Add a header; `group` are its stored bytes with those of its extensions, `start` is their offset."""
        if attributes := overlay_attributes(header):
            where = f"{self._what}: {display_path(header.path):.100} has the extended attribute {attributes[0]}"
            raise ImageError(f"{where}, with which engines show other files; such an image is not flattened")
        listing, entry = self._listing, self._entry
        listed = entry < len(listing) and listing.offsets[entry] == header.offset
        if self._extracted is not None:
            self._extracted.extract(header, FileVersion(self._extracted.number, entry) if listed else None)
        if not listed:
            self._add_whiteout(header, start)
            return
        self._entry += 1
        if self._links is not None:
            self._resolve_links(header, entry, self._links)
        meta = packed_metadata(header)
        self.headers.starts.append(start)
        self.headers.metadata.append(self._metadata.setdefault(meta, meta))
        clean = own_headers(group)
        if len(clean) != len(group):
            self.headers.extra_headers.add(entry)
        self._keep(header, entry, clean)

    def _add_whiteout(self, header: Header, start: int) -> None:
        if header.path.rpartition("/")[2].startswith(WHITEOUT):
            real = header.path if self._links is None else self._links.real(header.path)
            self.headers.whiteouts.append((start, header.offset, real if real != header.path else None))

    def _resolve_links(self, header: Header, entry: int, links: PathResolver) -> None:
        target = self._listing.links.get(entry)
        if header.kind is EntryKind.HARDLINK and target is not None:
            target = links.link_at(target)
        links.add(self._listing.paths[entry], target, folder=header.kind is EntryKind.DIR)

    def _keep(self, header: Header, entry: int, clean: bytes) -> None:
        """Store the bytes of a requested entry, and of one that cannot be copied unchanged."""
        headers, path, link = self.headers, self._listing.paths[entry], self._listing.links.get(entry)
        same = self._repeated.get(path) if header.kind is EntryKind.DIR else None
        if same is not None:
            same.append(header)
            headers.repeated_folders.add(entry)
        is_relinked = header.kind is EntryKind.HARDLINK and link not in (None, header.link)
        if same is not None or is_relinked or header.path != path:
            headers.renamed.add(entry)
        if header.kind is EntryKind.DIR:
            if entry in headers.renamed:
                headers.folders[entry] = renamed_headers(header, path, same or (header,))
            elif self._is_kept(entry):
                headers.folders[entry] = clean
        elif header.sparse or entry in headers.renamed or self._is_kept(entry):
            headers.stored[entry] = StoredHeader(header, clean)


def _repeated_folders(listing: Listing) -> dict[str, list[Header]]:
    """Return an empty list for each folder with several entries, which takes a symbolic link."""
    if EntryKind.SYMLINK not in listing.kinds:
        return {}
    seen: set[str] = set()
    repeated: dict[str, list[Header]] = {}
    for path, kind in zip(listing.paths, listing.kinds, strict=True):
        if kind == EntryKind.DIR:
            if path in seen:
                repeated[path] = []
            seen.add(path)
    return repeated
