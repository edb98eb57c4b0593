"""Ranges of a layer's uncompressed tar, and the places of its headers."""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.tar import Header, Walker, padded
from auditor.errors import Damaged, ImageError
from auditor.images.source import FileSlice, Layer, Passed
from auditor.layers.listing import WHITEOUT, Listing, overlay_attributes
from auditor.model import Kind, Version
from auditor.rebuild.disk import Disk
from auditor.rebuild.headers import moved, raw_meta, stripped

_WINDOW = 1 << 18  # it stays in the processor's cache; and a block of a megabyte would be mapped anew each time
_HEADERS = 1 << 16


class LayerReader:
    """Reads ranges of the uncompressed tar. Going forward costs one pass; going back in a compressed layer another."""

    def __init__(self, layer: Layer, what: str) -> None:
        assert not isinstance(layer.content, Passed)  # noqa: S101 - the image was opened to be read again
        self._content, self.what = layer.content, what
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
            self._stream, self._at = decompressed(io.BufferedReader(self._content.open(), 1 << 16)), 0
        while self._at < at:
            skipped = len(self._stream.read(min(_WINDOW, at - self._at)))
            if not skipped:
                return
            self._at += skipped


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry's parsed header, and its headers' bytes as they stand."""

    header: Header
    group: bytes


@dataclass(slots=True)
class Headers:
    """What a listing leaves out of a layer's headers. Items of `starts` and `metas` belong to the listing's entries.

    `marks` are the ranges [start, end) of whiteouts and opaque markers; `folders` and `stored` hold the entries that
    were wanted, and the sparse files. `unclean` are those with something among their headers that is not copied,
    `renamed` those of which the tar names a path, or a hard link's target, by way of a symbolic link.
    """

    starts: array[int] = field(default_factory=lambda: array("q"))
    metas: list[bytes] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    folders: dict[int, bytes] = field(default_factory=dict)
    stored: dict[int, Stored] = field(default_factory=dict)
    unclean: set[int] = field(default_factory=set)
    renamed: set[int] = field(default_factory=set)


def read_headers(
    reader: LayerReader, listing: Listing, wanted: Callable[[int], bool], disk: Disk | None = None
) -> Headers:
    """Walk the headers of a layer whose listing is known; bodies are skipped where the layer is not compressed.

    `disk` has them extracted. Raises ImageError where an attribute of an entry steers an overlay file system.
    """
    headers, walker, known = Headers(), Walker(), dict[bytes, bytes]()
    at = start = entry = 0
    tail = b""
    while not walker.ended and (block := reader.some(at, _HEADERS)):
        held, low = tail + block, at - len(tail)
        for header in walker.feed(memoryview(block), at):
            end = header.offset + padded(header.size)
            if attributes := overlay_attributes(header):
                raise ImageError(f"{reader.what}: {header.path!r:.100} has the extended attribute {attributes[0]}")
            listed = entry < len(listing) and listing.offsets[entry] == header.offset
            if disk is not None:
                disk.extract(header, Version(disk.number, entry) if listed else None)
            if listed:
                meta = raw_meta(header)
                headers.starts.append(start)
                headers.metas.append(known.setdefault(meta, meta))
                group = held[start - low : header.offset - low]
                clean = stripped(group)
                if len(clean) != len(group):
                    headers.unclean.add(entry)
                renamed = header.path != listing.paths[entry] or (
                    header.kind is Kind.HARDLINK and header.link != listing.links.get(entry, header.link)
                )
                if renamed:
                    headers.renamed.add(entry)
                    clean = moved(header, listing.paths[entry], (header,)) if header.kind is Kind.DIR else clean
                if header.sparse or renamed or wanted(entry):
                    if header.kind is Kind.DIR:
                        headers.folders[entry] = clean
                    else:
                        headers.stored[entry] = Stored(header, clean)
                entry += 1
            elif header.path.rpartition("/")[2].startswith(WHITEOUT):
                headers.marks.append((start, end))
            start = end
        tail = held[start - low :] if walker.waiting else b""
        at = at + len(block) if walker.waiting else walker.position
    if disk is not None:
        disk.finish()
    return headers
