"""The central directory of a zip: APPNOTE.TXT, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

The standard library keeps an object of 0.7 kB for each entry, 60 MB for a jar of 80,000 classes. Here the directory
stays as it is stored, and its entries are decoded one after the other.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from auditor.codec.random_access import RandomAccess
from auditor.core.limits import Limits, limit_note

RECORD, END = b"PK\x01\x02", b"PK\x05\x06"
END_BYTES = 22  # 4.3.16
MAX_TAIL = END_BYTES + (1 << 16)
"""Bytes of the end record with the longest comment."""
_END = struct.Struct("<12xLL2x")
_LOCATOR_64, _LOCATOR_64_BYTES = b"PK\x06\x07", 20  # 4.3.15
_END_64, _END_64_BYTES = struct.Struct("<4s36xQQ"), 56  # 4.3.14
_LENGTHS = struct.Struct("<4s24x3H12x")
_ENTRY = struct.Struct("<8xHH8xLLHHH8xL")  # 4.3.12
_IN_EXTRA, _IN_EXTRA_2 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
"""Values in place of a number that is in the zip64 extra field: 4.5.3."""
_UTF_8 = 1 << 11  # 4.4.4


class BrokenDirectory(ValueError):
    """The file is no zip, or its directory is broken."""


class TooManyEntries(Exception):
    """The directory has more entries than are wanted."""


class Entry(NamedTuple):
    """An entry: its path, numbers, and other texts. `header` is the offset of its local header."""

    path: str
    flags: int
    method: int
    packed_size: int
    size: int
    header: int
    extra: bytes
    comment: bytes


class Directory:
    """The directory of a zip, with up to `most` entries; `start` is its offset in the file.

    The archive may begin anywhere in the file, as behind a program. Raises BrokenDirectory and TooManyEntries.
    """

    def __init__(self, source: RandomAccess, limits: Limits, most: int) -> None:
        tail_start = max(source.size - MAX_TAIL, 0)
        tail = bytes(source.view(tail_start, MAX_TAIL))
        end = len(tail) - END_BYTES
        if end < 0 or not tail.startswith(END, end):
            end = tail.rfind(END)
        if not 0 <= end <= len(tail) - END_BYTES:
            raise BrokenDirectory("it has no directory")
        size, stated = _END.unpack_from(tail, end)
        behind = tail_start + end
        large = self._large(source, behind)
        if large is not None:
            size, stated = large
            behind -= _LOCATOR_64_BYTES + _END_64_BYTES
        self.start = behind - size
        self._shift = self.start - stated  # of all offsets, if the archive begins later in the file
        if self.start < 0 or self._shift < 0:
            raise BrokenDirectory("its directory begins before the file")
        if size > limits.archive_bytes:
            raise BrokenDirectory(f"its directory has {size} bytes {limit_note('archive-bytes')}")
        self._view = source.view(self.start, size)
        self._positions = self._checked(most)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Entry]:
        view = self._view
        for at in self._positions:
            flags, method, packed, size, name_bytes, extra_bytes, comment_bytes, header = _ENTRY.unpack_from(view, at)
            name, extra = at + 46, at + 46 + name_bytes
            comment = extra + extra_bytes
            text = bytes(view[extra:comment])
            if _IN_EXTRA in (packed, size, header):
                size, packed, header = _from_extra(text, size, packed, header)
            path = str(view[name:extra], "utf-8" if flags & _UTF_8 else "cp437", "replace")
            path, _, _ = path.partition("\0")
            yield Entry(
                path, flags, method, packed, size, header + self._shift, text,
                bytes(view[comment : comment + comment_bytes]),
            )  # fmt: skip

    @staticmethod
    def _large(source: RandomAccess, end: int) -> tuple[int, int] | None:
        """Return size and stated offset from the zip64 records, if they stand before the end record."""
        start = end - _LOCATOR_64_BYTES - _END_64_BYTES
        if start < 0 or bytes(source.view(end - _LOCATOR_64_BYTES, 4)) != _LOCATOR_64:
            return None
        magic, size, stated = _END_64.unpack(source.view(start, _END_64_BYTES))
        return (size, stated) if magic == b"PK\x06\x06" else None

    def _checked(self, most: int) -> array[int]:
        """Return the positions of all entries. Raises BrokenDirectory where one is cut off or has another signature."""
        positions, at, size = array("I"), 0, len(self._view)
        while at < size:
            if at + 46 > size:
                raise BrokenDirectory("its directory is cut off")
            magic, name, extra, comment = _LENGTHS.unpack_from(self._view, at)
            if magic != RECORD:
                raise BrokenDirectory(f"its directory is broken at byte {at}")
            positions.append(at)
            if len(positions) > most:
                raise TooManyEntries
            at += 46 + name + extra + comment
        return positions


def _from_extra(extra: bytes, *stored: int) -> list[int]:
    """Return size, packed size and header offset: those stored, or from the zip64 extra field."""
    at, field = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
        at += 4 + length
    numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
    return [next(numbers, value) if value in (_IN_EXTRA, _IN_EXTRA_2) else value for value in stored]
