"""Index of the paths to look up in package databases.

Each database is read once, and of its lines only those about these paths are kept. So memory grows with the number of
files that have matches, time with the size of the databases, and neither with the product of the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from auditor.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class PathIndex:
    """Relative paths as bytes, and the folders that contain each file name: most lines are dropped by their name."""

    paths: frozenset[bytes]
    folders: dict[bytes, set[bytes]] = field(repr=False)

    @classmethod
    def of(cls, paths: Iterable[str]) -> PathIndex:
        """Return the index of some paths."""
        encoded = frozenset(encode(path) for path in paths)
        folders: dict[bytes, set[bytes]] = {}
        for path in encoded:
            folder, _, name = path.rpartition(b"/")
            folders.setdefault(name, set()).add(folder)
        return cls(encoded, folders)

    def contains(self, folder: bytes, name: bytes) -> bool:
        """Tell whether the path of a folder and a file name is in the index."""
        return folder in self.folders.get(name, ())


def encode(path: str) -> bytes:
    """Return a path as the bytes that databases list."""
    return path.encode("utf-8", "surrogateescape")


def decode(text: bytes) -> str:
    """Return the name or version of a package as text."""
    return text.decode("utf-8", "replace")
