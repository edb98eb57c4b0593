"""Entries of a layer: their kinds, the file versions they make, and the states of those versions.

Paths inside a layer are relative, normalised and free of `..`; bytes that are not UTF-8 are kept by surrogateescape.
"""

from __future__ import annotations

from enum import IntEnum

from auditor.core.dataclass import dataclass


class EntryKind(IntEnum):
    """File type of a tar entry.

    A WHITEOUT is a `.wh.` file, or a character device 0:0, which an overlay file system takes for a whiteout.
    """

    FILE = 0
    HARDLINK = 1
    SYMLINK = 2
    CHAR = 3
    BLOCK = 4
    DIR = 5
    FIFO = 6
    WHITEOUT = 7


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """Content of one path as one layer left it: the index of the layer, and of the entry in its listing."""

    layer: int
    entry: int


@dataclass(frozen=True, slots=True)
class Visible:
    """The file version is in the final file system."""


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Layer `by` replaces the file version."""

    by: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """Layer `by` removes the path or a parent of it."""

    by: int


VersionState = Visible | Overwritten | Deleted


@dataclass(frozen=True, slots=True)
class Skipped:
    """Part of an image that was not read, and the reason; listed in the report."""

    path: str | None
    layer: int | None
    reason: str
