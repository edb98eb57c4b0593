"""Tar headers: ustar, star, GNU long names and sparse files, pax.

Where these contradict one another, a header means here what it means to Go's archive/tar, with which Docker and Podman
extract layers. Sources: POSIX pax, GNU tar manual "Tar Internals", star(5), Go's archive/tar reader.

The walk is lean because an image has a hundred thousand headers: what only some callers need (mode, owner, times,
extended attributes) is parsed when asked for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from sys import getsizeof
from typing import NamedTuple
from zlib import adler32

from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, named

BLOCK = 512
_MAX_ENTRY = 1 << 60  # one file; offsets of what follows it must fit into 63 bits
_ZERO = bytes(BLOCK)
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
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _SPARSE = b"LKxgS"
_EXTENSIONS = frozenset((_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL))
_USTAR, _GNU, _STAR_TRAILER = b"ustar\0", b"ustar  \0", b"tar\0"
_STAR_PREFIX = 131


class Header(NamedTuple):
    """One entry of a tar.

    A named tuple and not a dataclass: a million of these are made in one walk, at a third of the cost.
    """

    path: str
    kind: EntryKind
    size: int
    """Bytes of body in the tar; for a sparse file less than what the file system shows."""
    offset: int
    """Where the body starts in the uncompressed tar."""
    link: str
    """Target of a symbolic link as written; of a hard link normalised as a path is."""
    block: bytes
    """The 512 header bytes."""
    pax: Mapping[str, str]
    extension: bytes = b""
    """The old GNU format's further header blocks of a sparse file."""
    comments: Mapping[str, str] = {}
    """Records of global pax headers before the entry, which engines ignore."""

    @property
    def mode(self) -> int:
        """Permission bits, set-user-ID and the like included."""
        return number(self.block[100:108]) & 0o7777

    @property
    def uid(self) -> int:
        """Owner; pax overrides the field."""
        return int(self.pax.get("uid") or number(self.block[108:116]))

    @property
    def gid(self) -> int:
        """Group; pax overrides the field."""
        return int(self.pax.get("gid") or number(self.block[116:124]))

    @property
    def mtime(self) -> float:
        """Modification time in seconds since 1970."""
        return float(self.pax.get("mtime") or number(self.block[136:148]))

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number; (0, 0) where the entry is no device, or its header is of a form without numbers."""
        if self.kind not in (EntryKind.CHAR, EntryKind.BLOCK) or not is_extended(self.block):
            return (0, 0)
        return number(self.block[329:337]), number(self.block[337:345])

    @property
    def xattrs(self) -> dict[str, str]:
        """Extended attributes by name; values are bytes kept by surrogateescape."""
        prefix = "SCHILY.xattr."
        return {key[len(prefix) :]: value for key, value in self.pax.items() if key.startswith(prefix)}

    @property
    def sparse(self) -> bool:
        """Whether the body holds only the file's data segments."""
        return self.block[156] == _SPARSE or is_pax_sparse(self.pax)


def number(field: bytes) -> int:
    """Read a numeric field: octal text, or base-256 where the first bit is set. Raise ValueError on neither."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = 8 * len(field)
        # The first bit marks the form; the second is the sign of what remains.
        return (value & ((1 << (bits - 1)) - 1)) if not field[0] & 0x40 else value - (1 << bits)
    text = field.strip(b" \0").partition(b"\0")[0]
    return int(text, 8) if text else 0


def is_extended(block: bytes) -> bool:
    """Tell whether a header is of the ustar, star or GNU form: the older one has neither prefix nor device numbers."""
    return block[257:263] == _USTAR or block[257:265] == _GNU


def is_pax_sparse(pax: Mapping[str, str]) -> bool:
    """Tell whether pax records make a sparse file, of the format 0.0, 0.1 or 1.0."""
    major, minor = pax.get("GNU.sparse.major", ""), pax.get("GNU.sparse.minor", "")
    if major or minor:
        return (major, minor) in (("0", "0"), ("0", "1"), ("1", "0"))
    return bool(pax.get("GNU.sparse.map"))


def normalise(path: str) -> str:
    """Make a path relative and free of `.`, `..` and doubled slashes; the root is the empty string."""
    if path[:1] not in ("/", ".") and "//" not in path and "/." not in path:
        return path.rstrip("/")
    return posixpath.normpath("/" + path).lstrip("/")


class TarParser:
    """Yields the headers of a tar that is fed block by block.

    `position` is the offset of the next header; `ended` tells that the end-of-archive marker was seen.
    """

    def __init__(self, limits: Limits) -> None:
        self.position = 0
        self.ended = False
        self._carry = b""
        self._limits = limits
        # A shorter path breaks neither the limit of length nor that of depth.
        self._short = min(self._limits.path_length, self._limits.path_depth)
        self._entries, self._paths_bytes = self._limits.entries, self._limits.paths_bytes  # that there may still be

    @property
    def is_mid_entry(self) -> bool:
        """Whether the headers at `position` go on beyond the last block; the next block must follow it directly."""
        return bool(self._carry)

    def feed(self, block: memoryview, base: int) -> Iterator[Header]:
        """Yield the headers that end in the bytes [base, base+len(block)) of the tar.

        Blocks are given in order and without gaps. Raises Damaged on what is no tar header.
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
                    header = _read(view, self.position - start, start, self._limits)
                except _Short:
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
                    # What follows it may have been carried along.
                    self._carry = b"" if self.ended else bytes(view[self.position - start : base - start])
        finally:  # how many there are is looked at once a block, which holds so many at most
            self._entries -= entries
            self._paths_bytes -= paths_bytes

    def _check_count(self) -> None:
        """Raise Damaged where there were more entries, or paths, than there may be."""
        if self._entries < 0:
            raise Damaged(f"tar: more than {self._limits.entries} entries {named('entries')}")
        if self._paths_bytes < 0:
            most = self._limits.paths_bytes
            raise Damaged(f"tar: paths that take more than {most} bytes of memory {named('paths-bytes')}")

    def finish(self, size: int) -> None:
        """Raise Damaged if a tar of `size` bytes ends within an entry, or had too many."""
        self._check_count()
        if self.position > size or self._carry.strip(b"\0"):
            raise Damaged(f"tar: ends at byte {size}, within an entry that begins at or before byte {self.position}")


class _Short(Exception):
    pass


def padded(size: int) -> int:
    """Round up to whole blocks."""
    return (size + BLOCK - 1) & -BLOCK


def is_header(block: bytes) -> bool:
    """Tell whether 512 bytes are a tar header with a right checksum, or the zero block that begins an empty tar."""
    if len(block) < BLOCK or block == _ZERO:
        return block == _ZERO
    try:
        _check(block)
    except ValueError:
        return False
    return True


def _read(view: memoryview, at: int, base: int, limits: Limits) -> Header | tuple[int, bool]:
    """Read one entry's headers at `view[at:]`, where `base` is the tar offset of `view[0]`.

    Returns a header; or where a zero block stands in its place, the offset behind it and whether it is one of the two
    that end the archive. Raises _Short where the view ends too early.
    """
    pax: dict[str, str] = {}
    comments: dict[str, str] = {}
    name, link, first = "", "", at
    while True:
        block = bytes(view[at : at + BLOCK])
        if len(block) < BLOCK:
            raise _Short
        if not block[0] and block == _ZERO:
            ends = _take(view, at + BLOCK, BLOCK) == _ZERO
            return base + at + (2 if ends else 1) * BLOCK, ends
        try:
            _check(block)
            size = number(block[124:136])
            if block[156] not in _EXTENSIONS:
                entry = _entry(view, at, base, block, pax, name, link)
                return entry._replace(comments=comments) if comments else entry
            if size < 0:
                raise ValueError
            if size > limits.header_bytes:  # Go's archive/tar, which engines use, refuses more than 1 MiB
                raise Damaged(f"tar: an extension header of {size} bytes at offset {base + at} {named('header-bytes')}")
            body = _take(view, at + BLOCK, size)
            if block[156] == _PAX:
                pax = _pax(body)
            elif block[156] == _LONG_NAME:
                name = _text(body)
            elif block[156] == _LONG_LINK:
                link = _text(body)
            else:  # a global pax header is an entry of its own to engines: what stands before it is not of the next one
                comments |= _pax(body)
                pax, name, link = {}, "", ""
        except ValueError:
            raise Damaged(f"tar: no valid header at offset {base + at}") from None
        at += BLOCK + padded(size)
        if at - first > limits.headers_bytes:
            raise _endless(base + first)


def _endless(at: int) -> Damaged:
    return Damaged(f"tar: extension headers at offset {at} have no end {named('headers-bytes')}")


def _entry(view: memoryview, at: int, base: int, block: bytes, pax: dict[str, str], name: str, link: str) -> Header:
    path = name or pax.get("path") or _block_name(block)
    link = link or pax.get("linkpath") or _text(block[157:257]) if block[156] in b"12" else ""
    kind = _KINDS.get(block[156], EntryKind.FILE)
    if block[156] == 0 and path.endswith("/"):
        kind = EntryKind.DIR  # as the oldest tars write directories
    # Only files have a body, whatever the size field of the others says: POSIX, and Go's archive/tar.
    size = int(pax.get("size") or number(block[124:136])) if kind is EntryKind.FILE else 0
    if not 0 <= size <= _MAX_ENTRY:
        raise ValueError
    if pax.get("GNU.sparse.name") and is_pax_sparse(pax):
        path = pax["GNU.sparse.name"]
    start = at + BLOCK
    if block[156] == _SPARSE and block[482]:
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
    """Raise Damaged where a path, or the target of a link, is too long or too deep."""
    for path in (header.path, header.link):
        if len(path) > limits.path_length:
            raise Damaged(f"tar: a path of {len(path)} characters at offset {at} {named('path-length')}")
        if path.count("/") >= limits.path_depth:
            raise Damaged(f"tar: a path {path.count('/') + 1} folders deep at offset {at} {named('path-depth')}")


def _take(view: memoryview, start: int, size: int) -> bytes:
    if start + size > len(view):
        raise _Short
    return bytes(view[start : start + size])


def _check(block: bytes) -> None:
    """Raise ValueError unless the header's checksum holds."""
    # Adler-32's low half is 1 + the sum of the bytes, modulo 65521: a sum at C speed.
    total = (adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 8 * 32
    if (number(block[148:156]) - total) % 65521 and not _signed_sum(block):
        raise ValueError


def _signed_sum(block: bytes) -> bool:
    """Tell whether the checksum holds for bytes read as signed, as some old tars wrote it."""
    rest = block[:148] + block[156:]
    return sum(byte - 256 if byte > 127 else byte for byte in rest) + 256 == number(block[148:156])


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _block_name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _prefix(block)
    return f"{prefix}/{name}" if prefix else name


def _prefix(block: bytes) -> str:
    """Return the folder that a header keeps apart from its name; "" for none."""
    if block[257:263] == _USTAR:
        length = _STAR_PREFIX if block[508:512] == _STAR_TRAILER else 155
        return _text(block[345 : 345 + length]) if block[345] else ""
    if block[257:265] == _GNU and block[345] and not _has_gnu_times(block):
        prefix = _text(block[345:500])  # a writer took GNU's form to have a prefix, too
        return prefix if prefix.isascii() else ""
    return ""


def _has_gnu_times(block: bytes) -> bool:
    """Tell whether the times of GNU's form, which lie where ustar has its prefix, are numbers."""
    try:
        for field in (block[345:357], block[357:369]):
            if field[0]:
                number(field)
    except ValueError:
        return False
    return True


def _pax(body: bytes) -> dict[str, str]:
    """Parse `LENGTH KEY=VALUE\\n` records. Raises ValueError on anything else."""
    records: dict[str, str] = {}
    sparse: list[str] = []
    while body:
        digits, space, _ = body[:21].partition(b" ")
        length = int(digits)
        if not space or not len(digits) + 3 <= length <= len(body) or body[length - 1] != 10:
            raise ValueError
        key, equals, value = body[len(digits) + 1 : length - 1].partition(b"=")
        if not equals:
            raise ValueError
        name, text = key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            sparse.append(text)  # format 0.0 repeats these two keys, a pair a segment
        records[name] = text
        body = body[length:]
    if sparse:
        records["GNU.sparse.map"] = ",".join(sparse)
    return records
