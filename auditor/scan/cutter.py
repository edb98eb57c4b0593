"""Places at which a tar can be cut into pieces: between entries, at the first header of an entry.

Most headers are read for type and size alone, several times as fast as the parser reads them; the parser reads the
others. At an invalid header the last piece ends behind it, so that the parser of that piece reports it.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.codec.signatures import magics_of
from auditor.codec.tar import Short, read_headers
from auditor.codec.tar_headers import BLOCK, ZERO_BLOCK, Header, number, padded
from auditor.core.dataclass import dataclass
from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.published.image_lists import FOLDERS, LayerLists

MOST_COST = 12 << 20
"""Cost of a piece, in bytes of text: some 10 ms of work, so that the last pieces of a layer keep all cores busy."""
_ENTRY_COST = 20_000
_ARCHIVE_COST = 12
"""Cost of a byte of an archive, which is extracted, in bytes of text."""
_ARCHIVES = tuple(magic for magic in magics_of("gzip", "xz", "zstd", "bzip2", "zip", "7z", "deb", "rpm"))
_MAGIC = max(map(len, _ARCHIVES))
_PACKAGE = magics_of("deb")
_LARGE_ARCHIVE = 64 << 10
_LONG, _PAX = b"LKg", ord("x")
_WITHOUT_BODY, _FILE = b"123456", ord("0")


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a piece at offset `end` of the tar; `cost` is that of the piece.

    `headers` are those of a large file, which is a piece of its own; empty for any other piece. `packages` are the
    sizes of the Debian packages in the piece, in bytes, `archives` the paths of its large archives.
    """

    end: int
    cost: int
    headers: bytes = b""
    packages: tuple[int, ...] = ()
    archives: tuple[bytes, ...] = ()


class Cutter:
    """Cutter of a tar that is fed block by block. A file of more than `large` bytes is a piece of its own.

    The files of apt's package lists are announced to `lists`.
    """

    def __init__(self, limits: Limits, large: int, lists: LayerLists) -> None:
        self.start = 0
        """Offset of the piece that is not yet cut."""
        self.cost = 0
        """Cost of that piece so far."""
        self.position = 0
        """Offset of the next header; after the end of the archive, that of the first byte that belongs to no piece."""
        self.ended = False
        """Whether the end of the archive, or an invalid header, was found."""
        self.packages: list[int] = []
        """Sizes of the Debian packages in the piece that is not yet cut."""
        self.archives: list[bytes] = []
        """Paths of the large archives in it."""
        self._limits, self._large, self._lists = limits, large, lists

    def feed(self, block: memoryview, base: int) -> Iterator[Cut]:
        """Yield the cuts in `block`, the bytes of the tar from offset `base` on.

        Blocks are in order, without gaps. Bytes from `position` on, if there are any, belong to headers that the block
        cuts off: the next block begins with them.
        """
        end = base + len(block)
        while not self.ended and self.position < end:
            try:
                yield from self._next(block, self.position - base, base)
            except Short:
                if end - self.position <= self._limits.headers_bytes:
                    return
                self._end(end + 2 * BLOCK)
            except (Damaged, ValueError):  # the parser of the last piece must come to the same headers
                self._end(self.position + self._limits.headers_bytes + 2 * BLOCK)

    def _end(self, position: int) -> None:
        self.position, self.ended = position, True

    def _next(self, view: memoryview, at: int, base: int) -> Iterator[Cut]:
        """Go on to the next entry, or to the end of the archive; yield a cut before an entry, or behind a large one."""
        first = start = at
        size = body = 0
        while not body:
            block = _take(view, at, BLOCK)
            kind = block[156]
            if not block[0] and block == ZERO_BLOCK:
                if _take(view, at + BLOCK, BLOCK) == ZERO_BLOCK:
                    self._end(base + at + 2 * BLOCK)
                    return
                at += BLOCK  # the parser skips it, and forgets extension headers before it
                start = at
                continue
            size = number(block[124:136])
            if kind == _PAX or kind in _LONG:
                if size < 0 or at + padded(size) - start > self._limits.headers_bytes:
                    raise ValueError
                if kind != _PAX or b"size=" not in _take(view, at + BLOCK, size):
                    at += BLOCK + padded(size)
                    continue
            elif kind == _FILE and size >= 0:
                body = at + BLOCK
                continue
            elif kind in _WITHOUT_BODY:
                size, body = 0, at + BLOCK
                continue
            header = _header(view, start, base, self._limits)
            size, body = header.size, header.offset - base
        path = block[:100].rstrip(b"\0")  # not of an entry with a longer one
        if path.startswith(FOLDERS):
            self._lists.expect(path, base + body, size)
        yield from self._add(view[first:], base + first, body - first, size, path)

    def _add(self, view: memoryview, offset: int, body: int, size: int, path: bytes) -> Iterator[Cut]:
        """Add the entry that begins with `view`, its headers of `body` bytes first; yield cuts before and behind it."""
        magic = _take(view, body, _MAGIC) if size > BLOCK else b""
        is_archive = magic.startswith(_ARCHIVES)
        cost = size * (_ARCHIVE_COST if is_archive else 1) + _ENTRY_COST
        is_large = size > self._large
        if offset > self.start and (is_large or self.cost + cost > MOST_COST):
            yield Cut(offset, self.cost, packages=tuple(self.packages), archives=tuple(self.archives))
            self.start, self.cost = offset, 0
            self.packages.clear()
            self.archives.clear()
        self.position = offset + body + padded(size)
        if is_large:
            yield Cut(self.position, cost, bytes(view[:body]))
            self.start, self.cost = self.position, 0
        else:
            self.cost += cost
            if magic.startswith(_PACKAGE):
                self.packages.append(size)
            elif is_archive and size >= _LARGE_ARCHIVE:
                self.archives.append(path)


def _header(view: memoryview, at: int, base: int, limits: Limits) -> Header:
    header = read_headers(view, at, base, limits)
    if not isinstance(header, Header):
        raise ValueError  # a zero block, which the caller has excluded
    return header


def _take(view: memoryview, start: int, size: int) -> bytes:
    if start + size > len(view):
        raise Short
    return bytes(view[start : start + size])
