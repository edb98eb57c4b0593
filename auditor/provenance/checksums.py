"""Checksums of a file, to compare with those of package databases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Self

from auditor.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Checksums:
    """Hashes of a file, in hexadecimal digits."""

    md5: str
    sha1: str
    sha256: str

    @classmethod
    def of(cls, content: Iterable[bytes]) -> Self:
        """Hash the content of a file, given in pieces."""
        hashes = (hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False), hashlib.sha256())
        for piece in content:
            for state in hashes:
                state.update(piece)
        return cls(*(state.hexdigest() for state in hashes))
