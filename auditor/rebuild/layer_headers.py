"""Ranges of a layer's uncompressed tar, and the places of its headers."""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.file_slices import FileSlice
from auditor.codec.tar import Header, TarParser, padded
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.errors import Damaged, ImageError
from auditor.core.limits import Limits
from auditor.findings.collect import display
from auditor.images.source import Layer
from auditor.layers.listing import WHITEOUT, Listing, overlay_attributes
from auditor.layers.path_resolver import PathResolver
from auditor.rebuild.extraction import ExtractedLayer
from auditor.rebuild.tar_headers import own_headers, packed_metadata, renamed_headers

_WINDOW = 1 << 18  # it stays in the processor's cache; and a block of a megabyte would be mapped anew each time
_HEADERS = 1 << 16


class LayerReader:
    """Reads ranges of the uncompressed tar. Going forward costs one pass; going back in a compressed layer another."""

    def __init__(self, layer: Layer, what: str, limits: Limits) -> None:
        self._content, self.what, self.limits = layer.content, what, limits
        self._window = bytearray(_WINDOW)
        self._low = self._high = 0
        self._stream: Any = None
        self._at = 0
        content = layer.content
        self._slice: FileSlice | None = None
        if isinstance(content, FileSlice):
            with content.open() as stream:
                if compression_of(stream.read(8)) is None:
                    self._slice = content

    def close(self) -> None:
        """Close the stream behind it."""
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> LayerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunks(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes [start, end); each view holds until the next is asked for. Raises Damaged at a short end."""
        while start < end:
            if not self._low <= start < self._high:
                self._fill(start)
                if self._high == self._low:
                    raise Damaged(f"{self.what}: ends at byte {start}, within an entry")
            stop = min(end, self._high)
            yield memoryview(self._window)[start - self._low : stop - self._low]
            start = stop

    def exactly(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end)."""
        return b"".join(bytes(chunk) for chunk in self.chunks(start, end))

    def some(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes from `start` on; fewer at the end of the tar only."""
        pieces: list[bytes] = []
        try:
            for chunk in self.chunks(start, start + count):
                pieces.append(bytes(chunk))  # noqa: PERF401 - what came before the end is kept
        except Damaged:
            if not pieces and self._high != self._low:
                raise
        return b"".join(pieces)

    def _fill(self, at: int) -> None:
        if self._slice is not None:
            count = max(min(_WINDOW, self._slice.size - at), 0)
            view, got = memoryview(self._window), 0
            while got < count:
                read = os.preadv(self._slice.file.descriptor, [view[got:count]], self._slice.offset + at + got)
                if not read:
                    break
                got += read
            self._low, self._high = at, at + got
            return
        self._forward(at)
        got, view = 0, memoryview(self._window)
        while got < _WINDOW and (read := self._stream.readinto(view[got:])):
            got += read
        self._low, self._high, self._at = at, at + got, at + got

    def _forward(self, at: int) -> None:
        if self._stream is None or at < self._at:
            self.close()
            self._stream, self._at = decompressed(io.BufferedReader(self._content.open(), 1 << 16), self.limits), 0
        while self._at < at:
            skipped = len(self._stream.read(min(_WINDOW, at - self._at)))
            if not skipped:
                return
            self._at += skipped


@dataclass(frozen=True, slots=True)
class StoredHeader:
    """An entry's parsed header, and its headers' bytes as they stand."""

    header: Header
    group: bytes


@dataclass(slots=True)
class LayerHeaders:
    """What a listing leaves out of a layer's headers. Items of `starts` and `metas` belong to the listing's entries.

    `marks` are the ranges [start, end) of whiteouts and opaque markers, with the real path of those that the tar names
    by way of a symbolic link; `folders` and `stored` hold the entries that
    were wanted, and the sparse files. `unclean` are those with something among their headers that is not copied,
    `renamed` those of which the tar names a path, or a hard link's target, by way of a symbolic link. `twice` are the
    folders that the tar names several times, by way of links; `folders` has each with what all so far set.
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
    reader: LayerReader, listing: Listing, wanted: Callable[[int], bool], extracted: ExtractedLayer | None = None
) -> LayerHeaders:
    """Walk the headers of a layer whose listing is known; bodies are skipped where the layer is not compressed.

    `disk` has them extracted. Raises ImageError where an attribute of an entry steers an overlay file system.
    """
    collector, walker = _Collector(reader, listing, wanted, extracted), TarParser(reader.limits)
    at = start = 0
    tail = b""
    while not walker.ended and (block := reader.some(at, _HEADERS)):
        held, low = tail + block, at - len(tail)
        for header in walker.feed(memoryview(block), at):
            collector.add(header, start, held[start - low : header.offset - low])
            start = header.offset + padded(header.size)
        tail = held[start - low :] if walker.is_mid_entry else b""
        at = at + len(block) if walker.is_mid_entry else walker.position
    if extracted is not None:
        extracted.finish()
    return collector.headers


class _Collector:
    """Sorts the headers of a layer, which come in the order of its tar."""

    def __init__(
        self, reader: LayerReader, listing: Listing, wanted: Callable[[int], bool], extracted: ExtractedLayer | None
    ) -> None:
        self.headers = LayerHeaders()
        self._what, self._listing, self._wanted, self._extracted = reader.what, listing, wanted, extracted
        self._entry = 0
        self._metas: dict[bytes, bytes] = {}  # equal ones are kept once
        self._repeated = _folders_named_again(listing)
        has_markers = listing.whiteouts or listing.opaque
        self._links = PathResolver(reader.limits) if has_markers and EntryKind.SYMLINK in listing.kinds else None

    def add(self, header: Header, start: int, group: bytes) -> None:
        """Take the header whose bytes, with those of its extensions, are `group`, from `start` on."""
        if attributes := overlay_attributes(header):
            where = f"{self._what}: {display(header.path):.100} has the extended attribute {attributes[0]}"
            raise ImageError(f"{where}, by which an engine may show other files; it is not flattened")
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
        self.headers.metadata.append(self._metas.setdefault(meta, meta))
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
        links.put(self._listing.paths[entry], target, folder=header.kind is EntryKind.DIR)

    def _keep(self, header: Header, entry: int, clean: bytes) -> None:
        """Keep what is wanted of an entry, and what has to be written in another way than it stands."""
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
            elif self._wanted(entry):
                headers.folders[entry] = clean
        elif header.sparse or entry in headers.renamed or self._wanted(entry):
            headers.stored[entry] = StoredHeader(header, clean)


def _folders_named_again(listing: Listing) -> dict[str, list[Header]]:
    """Return an empty list for each folder that several entries of a layer make, which takes a symbolic link."""
    if EntryKind.SYMLINK not in listing.kinds:
        return {}
    seen: set[str] = set()
    again: dict[str, list[Header]] = {}
    for path, kind in zip(listing.paths, listing.kinds, strict=True):
        if kind == EntryKind.DIR:
            if path in seen:
                again[path] = []
            seen.add(path)
    return again
