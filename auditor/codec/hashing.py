"""Digests of streams and documents."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import BinaryIO

from auditor.core.digests import Digest
from auditor.core.errors import Damaged


class HashingReader(io.RawIOBase):
    """Reader of `inner` with the digest and the number of the bytes read so far.

    Without an algorithm it only counts, and `digest` is None.
    """

    def __init__(
        self, inner: BinaryIO, algorithm: str | None = "sha256", progress: Callable[[int], None] | None = None
    ) -> None:
        self._inner = inner
        self._hash = hashlib.new(algorithm) if algorithm else None
        self._progress = progress
        self.size = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read from `inner`."""
        count: int = self._inner.readinto(buffer)  # type: ignore[attr-defined]
        if self._hash:
            self._hash.update(memoryview(buffer)[:count])
        self.size += count
        if self._progress:
            self._progress(count)
        return count

    @property
    def digest(self) -> Digest | None:
        """The digest of all bytes read so far."""
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}") if self._hash else None

    def tell(self) -> int:
        """Return the number of bytes read so far."""
        return self.size


def verified_document(data: bytes, expected: Digest | None, label: str) -> bytes:
    """Return `data`; raise Damaged where its digest differs from `expected`."""
    if expected is not None:
        actual = f"{expected.algorithm}:{hashlib.new(expected.algorithm, data).hexdigest()}"
        if actual != expected:
            raise Damaged(f"{label}: digest is {actual}, expected {expected}")
    return data


def sha256(data: bytes) -> Digest:
    """Return the SHA-256 digest of `data`."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
