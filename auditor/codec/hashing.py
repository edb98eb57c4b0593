"""A reader that hashes and counts what passes through it, and knows what it should come to."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import BinaryIO

from auditor.core.digests import Digest
from auditor.core.errors import Damaged


class HashingReader(io.RawIOBase):
    """Hands on the bytes of `inner`; `digest` and `size` hold for what was read so far.

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
        got: int = self._inner.readinto(buffer)  # type: ignore[attr-defined]
        if self._hash:
            self._hash.update(memoryview(buffer)[:got])
        self.size += got
        if self._progress:
            self._progress(got)
        return got

    @property
    def digest(self) -> Digest | None:
        """The digest of all bytes read so far."""
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}") if self._hash else None

    def tell(self) -> int:
        """How many bytes were read so far."""
        return self.size


def verified_document(data: bytes, want: Digest | None, what: str) -> bytes:
    """Return `data`, or raise Damaged where its digest is not `want`."""
    if want is not None:
        got = f"{want.algorithm}:{hashlib.new(want.algorithm, data).hexdigest()}"
        if got != want:
            raise Damaged(f"{what}: digest is {got}, want {want}")
    return data


def sha256(data: bytes) -> Digest:
    """Return the SHA-256 digest of `data`."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
