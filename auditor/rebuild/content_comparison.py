"""Byte comparison of file contents between two images."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from auditor.codec.sparse import expanded, real_size
from auditor.core.entries import EntryKind, FileVersion
from auditor.rebuild.layer_reader import LayerReader
from auditor.rebuild.operations import NO_VERSION, pack_version, unpack_version
from auditor.rebuild.readable_layers import FileSystem

Pair = tuple[FileVersion, FileVersion]


class ContentPairs:
    """Pairs of contents that must be equal, in the order of the output: eight bytes for each."""

    def __init__(self, before: FileSystem, after: FileSystem) -> None:
        self.before, self.after = before, after
        self._sources = [array("q", [NO_VERSION]) * len(listing) for listing in after.readable.listings]
        self._further: list[Pair] = []

    def add(self, old: FileVersion, new: FileVersion) -> None:
        """Add a pair of files, unless equal digests of their layers prove it already."""
        before, after = self.before, self.after
        if after.readable.listings[new.layer].kinds[new.entry] != EntryKind.FILE:
            return
        if before.digests[old.layer : old.layer + 1] == (after.digests[new.layer],) and old.entry == new.entry:
            return
        source = self._sources[new.layer][new.entry]
        if source == NO_VERSION:
            self._sources[new.layer][new.entry] = pack_version(old)
        elif source != pack_version(old):
            self._further.append((old, new))

    def runs(self) -> Iterator[tuple[Pair, Pair]]:
        """Yield first and last pair of each run with equal distances in both tars: a run is compared as one range."""
        first = last = place = None
        for pair in self:
            here = self._place(pair)
            if first is None or last is None or here != place:
                if first and last:
                    yield first, last
                first, place = pair, here
            last = pair
        if first and last:
            yield first, last

    def _place(self, pair: Pair) -> tuple[int, int, int]:
        old, new = pair
        listings = self.before.readable.listings[old.layer], self.after.readable.listings[new.layer]
        return old.layer, new.layer, listings[1].offsets[new.entry] - listings[0].offsets[old.entry]

    def between(self, first: Pair, last: Pair) -> Iterator[Pair]:
        """Yield the pairs of a run."""
        layer = first[1].layer
        for entry in range(first[1].entry, last[1].entry + 1):
            if self._sources[layer][entry] != NO_VERSION:
                yield unpack_version(self._sources[layer][entry]), FileVersion(layer, entry)

    def __iter__(self) -> Iterator[Pair]:
        for layer, sources in enumerate(self._sources):
            for entry, source in enumerate(sources):
                if source != NO_VERSION:
                    yield unpack_version(source), FileVersion(layer, entry)

    def further(self) -> Sequence[Pair]:
        """Return second and further pairs of an output content."""
        return self._further

    def bytes(self) -> int:
        """Count the bytes to compare."""
        sizes = [listing.sizes for listing in self.after.readable.listings]
        return sum(sizes[new.layer][new.entry] for _, new in self)


def differing_contents(pairs: ContentPairs) -> Iterator[FileVersion]:
    """Yield output versions with differing content. Both images are read once, in the order of the output."""
    with ExitStack() as opened:
        before, after = _Contents(pairs.before, opened), _Contents(pairs.after, opened)
        for first, last in pairs.runs():
            alike = first != last and all(_alike(before, after, pair) for pair in pairs.between(first, last))
            if alike and _same_range(before, after, first, last):
                continue
            for old, new in pairs.between(first, last):
                if not _same(before, old, after, new):
                    yield new
        for old, new in pairs.further():
            if not _same(before, old, after, new):
                yield new


def _alike(before: _Contents, after: _Contents, pair: Pair) -> bool:
    old, new = pair
    return before.size(old) == after.size(new) and before.sparse(old) == after.sparse(new)


def _same_range(before: _Contents, after: _Contents, first: Pair, last: Pair) -> bool:
    """Whether both tars are equal from the first content of a run to the end of the last, headers included."""
    return _same_bytes(before.chunks(first[0], last[0]), after.chunks(first[1], last[1]))


class _Contents:
    """Contents of one image; keeps the reader of the current layer."""

    def __init__(self, side: FileSystem, opened: ExitStack) -> None:
        self.side, self._opened = side, opened
        self._reader: LayerReader | None = None
        self._number = -1

    def size(self, at: FileVersion) -> int:
        return self.side.readable.listings[at.layer].sizes[at.entry]

    def sparse(self, at: FileVersion) -> object:
        """Return the map of a sparse file's segments; None for a plain file."""
        stored = self.side.readable.headers[at.layer].stored.get(at.entry)
        if stored is None or not stored.header.sparse:
            return None
        pax = {key: value for key, value in stored.header.pax.items() if key.startswith("GNU.sparse.")}
        return stored.header.block[386:495], stored.header.extension, {**pax, "GNU.sparse.name": ""}

    def chunks(self, at: FileVersion, last: FileVersion | None = None) -> Iterator[memoryview]:
        """Yield the stored bytes of a content, or all bytes up to the end of the content `last`."""
        if self._number != at.layer or self._reader is None:
            if self._reader is not None:
                self._reader.close()
            self._number, self._reader = at.layer, self._opened.enter_context(self.side.readable.reader(at.layer))
        offsets, last = self.side.readable.listings[at.layer].offsets, last or at
        return self._reader.chunks(offsets[at.entry], offsets[last.entry] + self.size(last))

    def expanded_chunks(self, at: FileVersion) -> Iterator[bytes | memoryview]:
        """Yield the content with holes as zeros."""
        if self.sparse(at) is None:
            yield from self.chunks(at)
        else:
            header = self.side.readable.headers[at.layer].stored[at.entry].header
            yield from expanded(header, map(bytes, self.chunks(at)), header.extension)

    def expanded_size(self, at: FileVersion) -> int:
        if self.sparse(at) is None:
            return self.size(at)
        return real_size(self.side.readable.headers[at.layer].stored[at.entry].header)


def _same(left: _Contents, old: FileVersion, right: _Contents, new: FileVersion) -> bool:
    if left.sparse(old) == right.sparse(new):
        return left.size(old) == right.size(new) and _same_bytes(left.chunks(old), right.chunks(new))
    if left.expanded_size(old) != right.expanded_size(new):
        return False
    return _same_bytes(left.expanded_chunks(old), right.expanded_chunks(new))


def _same_bytes(left: Iterator[bytes | memoryview], right: Iterator[bytes | memoryview]) -> bool:
    one = two = memoryview(b"")
    while True:
        one, two = one or memoryview(next(left, b"")), two or memoryview(next(right, b""))
        count = min(len(one), len(two))
        if not count:
            return len(one) == len(two)
        if bytes(one[:count]) != bytes(two[:count]):  # comparing views is a slow loop over single bytes
            return False
        one, two = one[count:], two[count:]
