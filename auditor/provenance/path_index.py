"""Paths that the package databases of an image are asked for.

A database is read once, from front to back, and only its lines about these paths are kept: memory goes by the number
of files with findings, time by the size of the databases, and neither by the product of the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PathIndex:
    """Relative paths as bytes, and the folders that hold a wanted name, so that no path is joined in vain."""

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

    def holds(self, folder: bytes, name: bytes) -> bool:
        """Return whether the file of that name in a folder is wanted."""
        return folder in self.folders.get(name, ())


def encode(path: str) -> bytes:
    """Return a path as databases hold it."""
    return path.encode("utf-8", "surrogateescape")


def decode(text: bytes) -> str:
    """Return what a database says of a package as text."""
    return text.decode("utf-8", "replace")
