"""Tar headers: the fields of one entry, in the formats ustar, star, GNU and pax.

Where formats contradict each other, a header is read as Go's archive/tar reads it, with which Docker and Podman extract
layers. Sources: POSIX pax, GNU tar manual "Tar Internals", star(5), Go's archive/tar.

Mode, owner, times and extended attributes are parsed on access: an image has a hundred thousand headers, and most
callers need none of them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import NamedTuple
from zlib import adler32

from auditor.core.entries import EntryKind

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)
SPARSE = ord("S")
"""Type of a sparse file in the old GNU format."""
_USTAR, _GNU, _STAR_TRAILER = b"ustar\0", b"ustar  \0", b"tar\0"
_STAR_PREFIX = 131


class Header(NamedTuple):
    """One entry of a tar.

    A named tuple instead of a dataclass: a tar may have a million entries, and a named tuple takes a third of the time.
    """

    path: str
    kind: EntryKind
    size: int
    """Size of the body in the tar, in bytes; of a sparse file less than in the file system."""
    offset: int
    """Offset of the body in the uncompressed tar."""
    link: str
    """Target: of a symbolic link as written, of a hard link normalised like a path."""
    block: bytes
    """The header block of 512 bytes."""
    pax: Mapping[str, str]
    extension: bytes = b""
    """Further header blocks of a sparse file in the old GNU format."""
    comments: Mapping[str, str] = {}
    """Records of global pax headers before the entry, which engines ignore."""

    @property
    def mode(self) -> int:
        """Permission bits, with set-user-ID, set-group-ID and sticky bit."""
        return number(self.block[100:108]) & 0o7777

    @property
    def uid(self) -> int:
        """User ID of the owner; pax overrides the field."""
        return int(self.pax.get("uid") or number(self.block[108:116]))

    @property
    def gid(self) -> int:
        """Group ID; pax overrides the field."""
        return int(self.pax.get("gid") or number(self.block[116:124]))

    @property
    def mtime(self) -> float:
        """Modification time in seconds since 1970."""
        return float(self.pax.get("mtime") or number(self.block[136:148]))

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor device number; (0, 0) for other entries, and in the format without these fields."""
        if self.kind not in (EntryKind.CHAR, EntryKind.BLOCK) or not is_extended(self.block):
            return (0, 0)
        return number(self.block[329:337]), number(self.block[337:345])

    @property
    def xattrs(self) -> dict[str, str]:
        """Extended attributes by name; bytes that are not UTF-8 are kept by surrogateescape."""
        prefix = "SCHILY.xattr."
        return {key[len(prefix) :]: value for key, value in self.pax.items() if key.startswith(prefix)}

    @property
    def sparse(self) -> bool:
        """Whether the body holds only the data segments of a file with holes."""
        return self.block[156] == SPARSE or is_pax_sparse(self.pax)


def number(field: bytes) -> int:
    """Parse a numeric field: octal text, or base-256 where the first bit is set. Raises ValueError on anything else."""
    digits = field.rstrip(b" \0")
    if digits.isdigit():  # in nearly all headers
        return int(digits, 8)
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = 8 * len(field)
        # The first bit marks base-256; the second is the sign.
        return (value & ((1 << (bits - 1)) - 1)) if not field[0] & 0x40 else value - (1 << bits)
    text = field.strip(b" \0").partition(b"\0")[0]
    return int(text, 8) if text else 0


def is_extended(block: bytes) -> bool:
    """Tell whether a header has prefix and device numbers: ustar, star and GNU have, the oldest format has not."""
    return block[257:263] == _USTAR or block[257:265] == _GNU


def is_pax_sparse(pax: Mapping[str, str]) -> bool:
    """Tell whether pax records describe a sparse file of format 0.0, 0.1 or 1.0."""
    major, minor = pax.get("GNU.sparse.major", ""), pax.get("GNU.sparse.minor", "")
    if major or minor:
        return (major, minor) in (("0", "0"), ("0", "1"), ("1", "0"))
    return bool(pax.get("GNU.sparse.map"))


def normalise(path: str) -> str:
    """Return a path relative to the root, without `.`, `..` and double slashes; the root is the empty string."""
    if path[:1] not in ("/", ".") and "//" not in path and "/." not in path:
        return path.rstrip("/")
    return posixpath.normpath("/" + path).lstrip("/")


def padded(size: int) -> int:
    """Round up to whole blocks."""
    return (size + BLOCK - 1) & -BLOCK


def is_header(block: bytes) -> bool:
    """Tell whether 512 bytes are a tar header with a valid checksum, or the zero block of an empty tar."""
    if len(block) < BLOCK or block == ZERO_BLOCK:
        return block == ZERO_BLOCK
    try:
        verify_checksum(block)
    except ValueError:
        return False
    return True


def verify_checksum(block: bytes) -> None:
    """Raise ValueError where a header has a wrong checksum."""
    # The low half of Adler-32 is 1 + the sum of the bytes, modulo 65521: a sum at C speed.
    total = (adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 8 * 32
    if (number(block[148:156]) - total) % 65521 and not _signed_sum(block):
        raise ValueError


def _signed_sum(block: bytes) -> bool:
    """Tell whether the checksum is right for signed bytes, which some old tar programs summed."""
    rest = block[:148] + block[156:]
    return sum(byte - 256 if byte > 127 else byte for byte in rest) + 256 == number(block[148:156])


def text(field: bytes) -> str:
    """Return a field up to its zero byte; bytes that are not UTF-8 are kept by surrogateescape."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def block_name(block: bytes) -> str:
    """Return the path in the fields of a header block."""
    name, prefix = text(block[:100]), _prefix(block)
    return f"{prefix}/{name}" if prefix else name


def _prefix(block: bytes) -> str:
    """Return the directory that the prefix field adds to a name; "" for none."""
    if block[257:263] == _USTAR:
        length = _STAR_PREFIX if block[508:512] == _STAR_TRAILER else 155
        return text(block[345 : 345 + length]) if block[345] else ""
    if block[257:265] == _GNU and block[345] and not _has_gnu_times(block):
        prefix = text(block[345:500])  # some writers put a prefix into GNU headers, too
        return prefix if prefix.isascii() else ""
    return ""


def _has_gnu_times(block: bytes) -> bool:
    """Tell whether a GNU header has times, in numbers, where a ustar header has its prefix."""
    try:
        for field in (block[345:357], block[357:369]):
            if field[0]:
                number(field)
    except ValueError:
        return False
    return True


def parse_pax(body: bytes) -> dict[str, str]:
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
