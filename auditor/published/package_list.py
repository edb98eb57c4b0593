"""Package lists of Debian archives: `Packages`. Source: https://wiki.debian.org/DebianRepository/Format."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterator

from auditor.core.dataclass import dataclass

_FIELDS = re.compile(rb"\nSize: ([0-9]{1,18})\n(?:MD5sum: .*\n)?(?:SHA1: .*\n)?SHA256: ([0-9a-f]{64})\n")
_STANZA_END = b"\n\n"
_MOST_STANZA = 1 << 20
_MOST_ROWS = 150_000  # Debian's largest list has 70,000
_SIZE, _ROW = 8, 40  # bytes of a row: the size of a package, big-endian, and its SHA-256


@dataclass(frozen=True, slots=True)
class PackageList:
    """Sizes and SHA-256 digests of packages. `digest` is the SHA-256 of the list itself."""

    digest: bytes
    rows: bytes

    def of_size(self, size: int) -> Iterator[bytes]:
        """Yield the digests of the packages of a size in bytes."""
        rows, prefix = self.rows, size.to_bytes(_SIZE, "big")
        at = bisect_left(range(len(rows) // _ROW), prefix, key=lambda row: rows[row * _ROW : row * _ROW + _SIZE]) * _ROW
        while rows[at : at + _SIZE] == prefix:
            yield rows[at + _SIZE : at + _ROW]
            at += _ROW


class PackageListReader:
    """Reads a package list that arrives in blocks; holds its rows and one stanza."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rest = b""
        self._rows: list[bytes] = []

    def update(self, block: memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(block)
        text, end, self._rest = (self._rest + block).rpartition(_STANZA_END)
        if len(self._rest) > _MOST_STANZA:  # not a package list
            self._rest = b""
        self._read(text + end)

    def finish(self) -> PackageList:
        """Return the list, after its last byte."""
        self._read(self._rest)
        return PackageList(self._hash.digest(), b"".join(sorted(self._rows)))

    def _read(self, text: bytes) -> None:
        for size, digest in _FIELDS.findall(text)[: _MOST_ROWS - len(self._rows)]:
            self._rows.append(int(size).to_bytes(_SIZE, "big") + bytes.fromhex(digest.decode()))
