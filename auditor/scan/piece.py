"""Pieces of a layer, which are scanned independently of each other, and the result of one.

A layer is cut between entries, so each piece is a tar of its own. The result of a piece depends on its bytes and the
rules alone; what depends on the pieces before it is decided when the results are merged (layer_merge.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import BinaryIO, cast

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.core.dataclass import dataclass
from auditor.extract.git_commits import CommitHistory
from auditor.layers.listing import Listing
from auditor.provenance.checksums import Checksums
from auditor.published.package_files import PackageFiles
from auditor.scan.record import LayerMatch


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes [start, start+size) of a layer's uncompressed tar: whole entries, each with its headers.

    The bytes are in a file from `offset` on. A pipe has no offsets and is read once; the size of its piece may not be
    known. `cost` is an estimate in bytes of text to search. `listing` has the entries of a piece that is not parsed: a
    blob that is one file, or a large file of a stream. `extracted` is the number of bytes that were extracted from the
    files of the pieces before it; None where they are still being scanned. `published` has publishers by the SHA-256 of
    published packages that may be in the piece, and by the MD5 of archives that such packages install.
    """

    offset: int
    start: int
    size: int
    cost: int
    is_pipe: bool = False
    listing: Listing | None = None
    extracted: int | None = None
    published: Mapping[bytes, str] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Offset of the layer behind the piece."""
        return self.start + self.size

    def place(self, file: SharedFile, begin: int, size: int) -> FileSlice:
        """Return the bytes of an entry, which begin at an offset of the layer; not of a pipe, which is read once."""
        return FileSlice(file, self.offset + begin - self.start, size)

    def open(self, file: SharedFile) -> BinaryIO:
        """Return a stream with `readinto` over the bytes of the piece; the caller closes it."""
        return cast(BinaryIO, file.stream(self.offset, None if self.is_pipe else self.size))


@dataclass(frozen=True, slots=True)
class PieceResult:
    """Entries, matches and skipped items of a piece; entry numbers count from its first entry, offsets in the layer.

    `end` is the offset behind its last entry, and `cut_off` is set where headers are cut off. `entries`, `paths_bytes`
    and `extracted` bytes count towards the limits of the layer; `refused` is set where an extraction was refused for
    them. `overlay` are entries with extended attributes of overlay file systems. `histories` are those of git
    repositories, by the folder of their objects. `published` has the publisher of each entry that a distribution
    published, `package_files` the files that the packages among them install. `seconds` is the processor time that the
    scan took.
    """

    end: int
    listing: Listing
    cut_off: bool = False
    entries: int = 0
    paths_bytes: int = 0
    matches: tuple[LayerMatch, ...] = ()
    skipped: tuple[tuple[str | None, str], ...] = ()
    overlay: tuple[tuple[str, tuple[str, ...]], ...] = ()
    decoded: int = 0
    extracted: int = 0
    refused: bool = False
    checksums: Mapping[int, Checksums] = field(default_factory=dict)
    package_databases: Mapping[int, bytes] = field(default_factory=dict)
    histories: Mapping[str, CommitHistory] = field(default_factory=dict)
    published: Mapping[int, str] = field(default_factory=dict)
    package_files: tuple[PackageFiles, ...] = ()
    transient: bool = False
    seconds: float = 0.0
