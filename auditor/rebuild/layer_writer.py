"""A rewritten layer's tar, out of the headers and bodies of the layers that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from auditor.codec.tar import BLOCK, Header, padded
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.limits import Limits
from auditor.images.source import Layer
from auditor.layers.listing import Listing
from auditor.rebuild.extraction import ExtractedLayer
from auditor.rebuild.layer_headers import LayerHeaders, LayerReader, read_headers
from auditor.rebuild.operations import (
    AddFile,
    AddFolder,
    AddLink,
    AddWhiteout,
    CopyEntry,
    ExciseLayer,
    MergeLayers,
    Operation,
)
from auditor.rebuild.tar_headers import hard_link_headers, new_headers, own_headers, renamed_headers

Write = Callable[[bytes | memoryview], object]
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class ReadableLayers:
    """The layers of an image with their listings, and with their headers once these were read."""

    what: str
    layers: list[Layer]
    listings: list[Listing]
    headers: dict[int, LayerHeaders]
    limits: Limits
    extracted: list[ExtractedLayer] = field(default_factory=list)
    """The layers extracted, once their headers were read."""

    def reader(self, number: int) -> LayerReader:
        """Open one layer."""
        return LayerReader(self.layers[number], f"{self.what}: layer {number}", self.limits)

    def read_headers(self, *, whole: bool) -> None:
        """Read the headers of all layers. With `whole` those of folders and of hard linked files are kept as such."""
        for number, listing in enumerate(self.listings):
            keep = _kept_whole(self.listings, number) if whole else set()
            disk = ExtractedLayer(number, tuple(self.extracted))
            with self.reader(number) as reader:
                self.headers[number] = read_headers(reader, listing, keep.__contains__, disk)
            self.extracted.append(disk)

    def start(self, at: FileVersion) -> int:
        """Return where an entry's headers start in its tar."""
        return self.headers[at.layer].starts[at.entry]

    def meta(self, at: FileVersion) -> bytes:
        """Return an entry's metadata as it stands."""
        return self.headers[at.layer].metadata[at.entry]


def _kept_whole(listings: Sequence[Listing], number: int) -> set[int]:
    listing = listings[number]
    targets = {target for some in listings for e, target in some.links.items() if some.kinds[e] == EntryKind.HARDLINK}
    linked_to = {e for e, path in enumerate(listing.paths) if path in targets} if targets else set()
    kinds = (EntryKind.DIR, EntryKind.HARDLINK)
    return linked_to | {entry for entry, kind in enumerate(listing.kinds) if kind in kinds}


def write_layer(readable: ReadableLayers, plan: MergeLayers | ExciseLayer, write: Write) -> None:
    """Write the layer's tar, its end included. Raises Damaged."""
    with ExitStack() as opened:
        writer = _Writer(readable, write, opened)
        for operation in writer.operations(plan):
            if not writer.joins(operation):
                writer.operation(operation)
        writer.flush()
    write(bytes(2 * BLOCK))


@dataclass(frozen=True, slots=True)
class _WhiteoutEntry:
    """A whiteout as it stands: the bytes [start, end) of its layer."""

    layer: int
    start: int
    end: int


def _whiteout(number: int, start: int, end: int, real: str | None) -> AddWhiteout | _WhiteoutEntry:
    """Return a whiteout of a layer; one that went through a link goes where it led, which may have lost its target."""
    return _WhiteoutEntry(number, start, end) if real is None else AddWhiteout(real)


@dataclass(slots=True)
class _Run:
    """Entries that lie side by side in a layer: the bytes [start, end), with the places where padding begins."""

    layer: int
    start: int
    end: int
    pads: list[int] = field(default_factory=list)


class _Writer:
    def __init__(self, readable: ReadableLayers, write: Write, opened: ExitStack) -> None:
        self._parts, self._write, self._opened = readable, write, opened
        self._number = -1
        self._reader: LayerReader | None = None
        self._run = _Run(-1, 0, 0)

    def operations(self, plan: MergeLayers | ExciseLayer) -> Iterator[Operation | _WhiteoutEntry]:
        """Yield what a plan writes, in order."""
        if isinstance(plan, MergeLayers):
            yield from plan.operations
            return
        number, headers = plan.number, self._parts.headers[plan.number]
        whiteouts = iter(headers.whiteouts)
        whiteout = next(whiteouts, None)
        for entry, start in enumerate(headers.starts):
            while whiteout is not None and whiteout[0] < start:
                yield _whiteout(number, *whiteout)
                whiteout = next(whiteouts, None)
            yield from plan.replacements.get(entry, (CopyEntry(FileVersion(number, entry)),))
        yield from (_whiteout(number, *rest) for rest in (whiteout, *whiteouts) if rest is not None)

    def joins(self, operation: Operation | _WhiteoutEntry) -> bool:
        """Take an entry that is copied as it stands into the run; False for any other."""
        at = (
            operation.at
            if isinstance(operation, CopyEntry)
            else operation.meta
            if isinstance(operation, AddFolder)
            else None
        )
        if at is None:
            return False
        headers = self._parts.headers[at.layer]
        if at.entry in headers.extra_headers or at.entry in headers.renamed:
            return False
        listing, start = self._parts.listings[at.layer], self._parts.start(at)
        run = self._run
        if at.layer != run.layer or start != run.end:
            if isinstance(operation, AddFolder):  # one that is written before its place
                return False
            self.flush()
            run = self._run = _Run(at.layer, start, start)
        size = listing.sizes[at.entry]
        run.end = listing.offsets[at.entry] + padded(size)
        if size % BLOCK:
            run.pads.append(run.end - padded(size) + size)
        return True

    def flush(self) -> None:
        """Copy the run, all padding as zeros: it may hold what no scan sees."""
        run, at = self._run, self._run.start
        if run.start == run.end:
            return
        pads = iter([*run.pads, 1 << 62])
        pad = next(pads)
        for chunk in self._read(run.layer).chunks(run.start, run.end):
            end = at + len(chunk)
            while pad < end:
                stop = padded(pad)
                chunk[max(pad - at, 0) : stop - at] = _ZEROS[: min(stop, end) - max(pad, at)]
                if stop > end:  # the padding goes on in the next chunk
                    break
                pad = next(pads)
            self._write(chunk)
            at = end
        self._run = _Run(-1, 0, 0)

    def operation(self, operation: Operation | _WhiteoutEntry) -> None:
        """Write one entry that is not just copied."""
        self.flush()
        match operation:
            case CopyEntry(at):
                self._copy(at)
            case AddFile(path, content, metadata):
                self._file(path, content, metadata)
            case AddLink(at, target, metadata):
                self._link(at, target, metadata)
            case AddFolder(path, meta, mode):
                self._write(
                    new_headers(path, b"5", mode)
                    if meta is None
                    else self._parts.headers[meta.layer].folders[meta.entry]
                )
            case AddWhiteout(path):
                self._write(new_headers(path, b"0", 0))
            case _WhiteoutEntry(layer, start, end):
                self._write(own_headers(self._read(layer).exactly(start, end)))

    def _read(self, number: int) -> LayerReader:
        if number != self._number or self._reader is None:
            if self._reader is not None:
                self._reader.close()
            self._number, self._reader = number, self._opened.enter_context(self._parts.reader(number))
        return self._reader

    def _copy(self, at: FileVersion) -> None:
        listing = self._parts.listings[at.layer]
        if at.entry not in self._parts.headers[at.layer].renamed:
            self._headers(at)
            self._body(at)
        elif at.entry in self._parts.headers[at.layer].repeated_folders:  # an engine refuses two entries of one name
            self._headers(at)
        elif listing.kinds[at.entry] == EntryKind.DIR:
            self._write(self._parts.headers[at.layer].folders[at.entry])
        elif listing.kinds[at.entry] == EntryKind.HARDLINK:
            self._link(at, listing.links[at.entry], (at,))
        else:
            self._file(listing.paths[at.entry], at, (at,))

    def _headers(self, at: FileVersion) -> None:
        start, end = self._parts.start(at), self._parts.listings[at.layer].offsets[at.entry]
        self._write(own_headers(self._read(at.layer).exactly(start, end)))

    def _body(self, at: FileVersion) -> None:
        listing = self._parts.listings[at.layer]
        start, size = listing.offsets[at.entry], listing.sizes[at.entry]
        for chunk in self._read(at.layer).chunks(start, start + size):
            self._write(chunk)
        if rest := padded(size) - size:
            self._write(_ZEROS[:rest])

    def _file(self, path: str, content: FileVersion, metadata: Sequence[FileVersion]) -> None:
        headers = self._parts.headers[content.layer]
        stands = self._parts.listings[content.layer].paths[content.entry] == path
        if stands and set(metadata) == {content} and content.entry not in headers.renamed:
            self._headers(content)
        else:
            self._write(renamed_headers(headers.stored[content.entry].header, path, self._stored(metadata)))
        self._body(content)

    def _link(self, at: FileVersion, target: str, metadata: Sequence[FileVersion]) -> None:
        headers, path = self._parts.headers[at.layer], self._parts.listings[at.layer].paths[at.entry]
        stored = headers.stored[at.entry]
        alike = all(self._parts.meta(meta) == self._parts.meta(at) for meta in metadata)
        if alike and stored.header.link == target and at.entry not in headers.renamed:
            self._write(stored.group)
        else:
            self._write(hard_link_headers(stored.header, path, target, self._stored(metadata)))

    def _stored(self, metadata: Sequence[FileVersion]) -> list[Header]:
        return [self._parts.headers[meta.layer].stored[meta.entry].header for meta in metadata]
