"""Parsing a tar: the headers of its entries, with the extension headers before each."""

from __future__ import annotations

from collections.abc import Iterator
from sys import getsizeof

from auditor.codec.tar_headers import (
    BLOCK,
    SPARSE,
    ZERO_BLOCK,
    Header,
    block_name,
    is_pax_sparse,
    normalise,
    number,
    padded,
    parse_pax,
    text,
    verify_checksum,
)
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note

_MAX_ENTRY = 1 << 60  # one file; offsets behind it must fit into 63 bits
_KINDS = {
    ord("0"): EntryKind.FILE,
    0: EntryKind.FILE,
    ord("7"): EntryKind.FILE,  # "contiguous", a plain file everywhere
    ord("S"): EntryKind.FILE,  # GNU sparse
    ord("1"): EntryKind.HARDLINK,
    ord("2"): EntryKind.SYMLINK,
    ord("3"): EntryKind.CHAR,
    ord("4"): EntryKind.BLOCK,
    ord("5"): EntryKind.DIR,
    ord("6"): EntryKind.FIFO,
}
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"LKxg"
_EXTENSIONS = frozenset((_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL))


class TarParser:
    """Parser of a tar that is fed block by block.

    `position` is the offset of the next header; `ended` is true behind the end-of-archive marker.
    """

    def __init__(self, limits: Limits, position: int = 0) -> None:
        self.position = position
        self.ended = False
        self._carry = b""
        self._limits = limits
        # A shorter path exceeds neither the limit of length nor that of depth.
        self._short = min(self._limits.path_length, self._limits.path_depth)
        self._entries, self._paths_bytes = self._limits.entries, self._limits.paths_bytes  # remaining budget

    @property
    def is_mid_entry(self) -> bool:
        """Whether the headers at `position` continue in the next block, which must then follow without a gap."""
        return bool(self._carry)

    @property
    def is_cut_off(self) -> bool:
        """Whether the bytes so far end within headers; zeros at the end are no header."""
        return bool(self._carry.strip(b"\0"))

    @property
    def used(self) -> tuple[int, int]:
        """The number of entries, and the bytes of memory of their paths, that count towards the limits."""
        return self._limits.entries - self._entries, self._limits.paths_bytes - self._paths_bytes

    def feed(self, block: memoryview, base: int) -> Iterator[Header]:
        """Yield the headers that end in `block`, the bytes of the tar from offset `base` on.

        Blocks are in order, without gaps. Raises Damaged on an invalid header.
        """
        self._check_count()
        end, entries, paths_bytes = base + len(block), 0, 0
        try:
            while not self.ended and self.position < end:
                start, view = base, block
                if self._carry:
                    start = base - len(self._carry)
                    view = memoryview(self._carry + bytes(block[: self._limits.headers_bytes]))
                try:
                    header = read_headers(view, self.position - start, start, self._limits)
                except Short:
                    self._carry = bytes(view[self.position - start :])
                    if len(self._carry) > self._limits.headers_bytes:
                        raise _endless(self.position) from None
                    return
                if isinstance(header, Header):
                    self._carry = b""
                    size = getsizeof(header.path) + len(header.link)
                    if size > self._short:
                        _check_paths(header, self.position, self._limits)
                    self.position = header.offset + padded(header.size)
                    entries += 1
                    paths_bytes += size
                    yield header
                else:
                    # One zero block alone is skipped, as GNU tar does; two end the archive.
                    self.position, self.ended = header
                    # The carried bytes may hold more headers behind it.
                    self._carry = b"" if self.ended else bytes(view[self.position - start : base - start])
        finally:  # the budget is checked once a block, because a block holds few entries
            self._entries -= entries
            self._paths_bytes -= paths_bytes

    def _check_count(self) -> None:
        """Raise Damaged where the entries, or their paths, exceed the limits."""
        check_entries(*self.used, self._limits)

    def finish(self, size: int) -> None:
        """Raise Damaged where a tar of `size` bytes ends within an entry, or exceeds the limits."""
        self._check_count()
        check_end(size, self.position, is_cut_off=self.is_cut_off)


def check_entries(count: int, paths_bytes: int, limits: Limits) -> None:
    """Raise Damaged where the entries of a tar, or the bytes of memory of their paths, exceed the limits."""
    if count > limits.entries:
        raise Damaged(f"tar: more than {limits.entries} entries {limit_note('entries')}")
    if paths_bytes > limits.paths_bytes:
        most = limits.paths_bytes
        raise Damaged(f"tar: paths that take more than {most} bytes of memory {limit_note('paths-bytes')}")


def check_end(size: int, position: int, *, is_cut_off: bool) -> None:
    """Raise Damaged where a tar of `size` bytes ends within an entry: `position` and `is_cut_off` are the parser's."""
    if position > size or is_cut_off:
        raise Damaged(f"tar: ends at byte {size}, within an entry that begins at or before byte {position}")


class Short(Exception):
    """A block ends within the headers of an entry."""


def read_headers(view: memoryview, at: int, base: int, limits: Limits) -> Header | tuple[int, bool]:
    """Parse the headers of one entry at `view[at:]`, where `base` is the tar offset of `view[0]`.

    Return a header. For a zero block, return the offset behind it, and whether a second one ends the archive.
    Raises Short where the view ends within the headers, and Damaged.
    """
    pax: dict[str, str] = {}
    comments: dict[str, str] = {}
    name, link, first = "", "", at
    while True:
        block = bytes(view[at : at + BLOCK])
        if len(block) < BLOCK:
            raise Short
        if not block[0] and block == ZERO_BLOCK:
            ends = _take(view, at + BLOCK, BLOCK) == ZERO_BLOCK
            return base + at + (2 if ends else 1) * BLOCK, ends
        try:
            verify_checksum(block)
            size = number(block[124:136])
            if block[156] not in _EXTENSIONS:
                entry = _entry(view, at, base, block, size, pax, name, link)
                return entry._replace(comments=comments) if comments else entry
            if size < 0:
                raise ValueError
            if size > limits.header_bytes:  # Go's archive/tar, which engines use, refuses more than 1 MiB
                raise Damaged(
                    f"tar: an extension header of {size} bytes at offset {base + at} {limit_note('header-bytes')}"
                )
            body = _take(view, at + BLOCK, size)
            if block[156] == _PAX:
                pax = parse_pax(body)
            elif block[156] == _LONG_NAME:
                name = text(body)
            elif block[156] == _LONG_LINK:
                link = text(body)
            else:  # engines take a global pax header for an entry: headers before it don't apply to the next one
                comments |= parse_pax(body)
                pax, name, link = {}, "", ""
        except ValueError:
            raise Damaged(f"tar: no valid header at offset {base + at}") from None
        at += BLOCK + padded(size)
        if at - first > limits.headers_bytes:
            raise _endless(base + first)


def _endless(at: int) -> Damaged:
    return Damaged(f"tar: extension headers at offset {at} have no end {limit_note('headers-bytes')}")


def _entry(
    view: memoryview, at: int, base: int, block: bytes, size: int, pax: dict[str, str], name: str, link: str
) -> Header:
    """Return the entry of a header whose field for the size is `size`."""
    path, mark = name or pax.get("path") or block_name(block), block[156]
    kind = _KINDS.get(mark, EntryKind.FILE)
    if mark == 0 and path.endswith("/"):
        kind = EntryKind.DIR  # as the oldest tars write directories
    link = link or pax.get("linkpath") or text(block[157:257]) if mark in b"12" else ""
    # Only files have a body; the size field of other entries is ignored: POSIX, and Go's archive/tar.
    if kind is not EntryKind.FILE:
        size = 0
    elif pax.get("size"):
        size = int(pax["size"])
    if not 0 <= size <= _MAX_ENTRY:
        raise ValueError
    if pax and pax.get("GNU.sparse.name") and is_pax_sparse(pax):
        path = pax["GNU.sparse.name"]
    start = at + BLOCK
    if mark == SPARSE and block[482]:
        while _take(view, start, BLOCK)[504]:
            start += BLOCK
        start += BLOCK
    return Header(
        normalise(path),
        kind,
        size,
        base + start,
        normalise(link) if kind is EntryKind.HARDLINK else link,
        block,
        pax,
        bytes(view[at + BLOCK : start]),
    )


def _check_paths(header: Header, at: int, limits: Limits) -> None:
    """Raise Damaged where a path, or the target of a link, exceeds the limits."""
    for path in (header.path, header.link):
        if len(path) > limits.path_length:
            raise Damaged(f"tar: a path of {len(path)} characters at offset {at} {limit_note('path-length')}")
        if path.count("/") >= limits.path_depth:
            raise Damaged(f"tar: a path {path.count('/') + 1} folders deep at offset {at} {limit_note('path-depth')}")


def _take(view: memoryview, start: int, size: int) -> bytes:
    if start + size > len(view):
        raise Short
    return bytes(view[start : start + size])
