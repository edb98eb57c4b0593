"""Writer of a rewritten layer: carries out the operations of a plan, from headers and bodies of the input's layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import field

from auditor.codec.tar_headers import BLOCK, Header, padded
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.rebuild.layer_reader import LayerReader
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
from auditor.rebuild.readable_layers import ReadableLayers
from auditor.rebuild.tar_headers import hard_link_headers, new_headers, own_headers, renamed_headers

Write = Callable[[bytes | memoryview], object]
_ZEROS = bytes(BLOCK)


def write_layer(readable: ReadableLayers, plan: MergeLayers | ExciseLayer, write: Write) -> None:
    """Write the tar of a rewritten layer, end marker included. Raises Damaged."""
    with ExitStack() as opened:
        writer = _Writer(readable, write, opened)
        for operation in writer.operations(plan):
            if not writer.extend_run(operation):
                writer.carry_out(operation)
        writer.flush()
    write(bytes(2 * BLOCK))


@dataclass(frozen=True, slots=True)
class _WhiteoutEntry:
    """A whiteout to copy: the bytes [start, end) of its layer."""

    layer: int
    start: int
    end: int


def _whiteout(number: int, start: int, end: int, real: str | None) -> AddWhiteout | _WhiteoutEntry:
    """Return a whiteout to copy, or to add under its resolved path where the path passes a symbolic link."""
    return _WhiteoutEntry(number, start, end) if real is None else AddWhiteout(real)


@dataclass(slots=True)
class _Run:
    """Adjacent entries to copy: the bytes [start, end) of a layer, and the offsets of padding between them."""

    layer: int
    start: int
    end: int
    pads: list[int] = field(default_factory=list)


class _Writer:
    def __init__(self, readable: ReadableLayers, write: Write, opened: ExitStack) -> None:
        self._readable, self._write, self._opened = readable, write, opened
        self._number = -1
        self._reader: LayerReader | None = None
        self._run = _Run(-1, 0, 0)

    def operations(self, plan: MergeLayers | ExciseLayer) -> Iterator[Operation | _WhiteoutEntry]:
        """Yield the operations of a plan in order; an excised layer keeps its whiteouts."""
        if isinstance(plan, MergeLayers):
            yield from plan.operations
            return
        number, headers = plan.number, self._readable.headers[plan.number]
        whiteouts = iter(headers.whiteouts)
        whiteout = next(whiteouts, None)
        for entry, start in enumerate(headers.starts):
            while whiteout is not None and whiteout[0] < start:
                yield _whiteout(number, *whiteout)
                whiteout = next(whiteouts, None)
            yield from plan.replacements.get(entry, (CopyEntry(FileVersion(number, entry)),))
        yield from (_whiteout(number, *rest) for rest in (whiteout, *whiteouts) if rest is not None)

    def extend_run(self, operation: Operation | _WhiteoutEntry) -> bool:
        """Add an entry that is copied unchanged to the run; return False for any other operation."""
        at = operation.version if isinstance(operation, CopyEntry | AddFolder) else None
        if at is None:
            return False
        headers = self._readable.headers[at.layer]
        if at.entry in headers.extra_headers or at.entry in headers.renamed:
            return False
        listing, start = self._readable.listings[at.layer], self._readable.start(at)
        run = self._run
        if at.layer != run.layer or start != run.end:
            if isinstance(operation, AddFolder):  # a folder that is written before its position in the input
                return False
            self.flush()
            run = self._run = _Run(at.layer, start, start)
        size = listing.sizes[at.entry]
        run.end = listing.offsets[at.entry] + padded(size)
        if size % BLOCK:
            run.pads.append(run.end - padded(size) + size)
        return True

    def flush(self) -> None:
        """Copy the run. Padding is written as zeros: no scan reads it, so it could hide data."""
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

    def carry_out(self, operation: Operation | _WhiteoutEntry) -> None:
        """Carry out an operation that `extend_run` refused."""
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
                    else self._readable.headers[meta.layer].folders[meta.entry]
                )
            case AddWhiteout(path):
                self._write(new_headers(path, b"0", 0))
            case _WhiteoutEntry(layer, start, end):
                self._write(own_headers(self._read(layer).exactly(start, end)))

    def _read(self, number: int) -> LayerReader:
        if number != self._number or self._reader is None:
            if self._reader is not None:
                self._reader.close()
            self._number, self._reader = number, self._opened.enter_context(self._readable.reader(number))
        return self._reader

    def _copy(self, at: FileVersion) -> None:
        listing = self._readable.listings[at.layer]
        if at.entry not in self._readable.headers[at.layer].renamed:
            self._headers(at)
            self._body(at)
        elif at.entry in self._readable.headers[at.layer].repeated_folders:  # engines refuse two entries of one path
            self._headers(at)
        elif listing.kinds[at.entry] == EntryKind.DIR:
            self._write(self._readable.headers[at.layer].folders[at.entry])
        elif listing.kinds[at.entry] == EntryKind.HARDLINK:
            self._link(at, listing.links[at.entry], (at,))
        else:
            self._file(listing.paths[at.entry], at, (at,))

    def _headers(self, at: FileVersion) -> None:
        start, end = self._readable.start(at), self._readable.listings[at.layer].offsets[at.entry]
        self._write(own_headers(self._read(at.layer).exactly(start, end)))

    def _body(self, at: FileVersion) -> None:
        listing = self._readable.listings[at.layer]
        start, size = listing.offsets[at.entry], listing.sizes[at.entry]
        for chunk in self._read(at.layer).chunks(start, start + size):
            self._write(chunk)
        if rest := padded(size) - size:
            self._write(_ZEROS[:rest])

    def _file(self, path: str, content: FileVersion, metadata: Sequence[FileVersion]) -> None:
        headers = self._readable.headers[content.layer]
        has_path = self._readable.listings[content.layer].paths[content.entry] == path
        if has_path and set(metadata) == {content} and content.entry not in headers.renamed:
            self._headers(content)
        else:
            self._write(renamed_headers(headers.stored[content.entry].header, path, self._stored(metadata)))
        self._body(content)

    def _link(self, at: FileVersion, target: str, metadata: Sequence[FileVersion]) -> None:
        headers, path = self._readable.headers[at.layer], self._readable.listings[at.layer].paths[at.entry]
        stored = headers.stored[at.entry]
        alike = all(self._readable.metadata_of(meta) == self._readable.metadata_of(at) for meta in metadata)
        if alike and stored.header.link == target and at.entry not in headers.renamed:
            self._write(stored.group)
        else:
            self._write(hard_link_headers(stored.header, path, target, self._stored(metadata)))

    def _stored(self, metadata: Sequence[FileVersion]) -> list[Header]:
        return [self._readable.headers[meta.layer].stored[meta.entry].header for meta in metadata]
