"""All package databases of an image, asked by path."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from auditor.core.entries import Skipped
from auditor.core.finding import Package
from auditor.provenance import apk, dpkg, npm, pypi, rpm
from auditor.provenance.path_index import PathIndex
from auditor.scan.record import Checksums, LayerRecord


class PackageDatabase(Protocol):
    """One kind of package database."""

    def add(self, path: str, content: bytes) -> None:
        """Take a document; one that is malformed or of another kind is passed over."""
        ...

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that brought the file at a relative path."""
        ...


class Packages:
    """The databases that an image's layers hold, hidden ones too: a database removed later still tells the truth.

    They are read for certain files; of any other file nothing is known. `skipped` are the databases that could not be
    read in full; `transient` tells that another run may read more.
    """

    def __init__(self, records: Sequence[LayerRecord]) -> None:
        self.skipped: list[Skipped] = []
        self.transient = False
        self._records, self._layer = records, 0
        self._databases: tuple[PackageDatabase, ...] = ()

    def read(self, paths: Iterable[str]) -> None:
        """Read the databases for the files at relative paths, each once and from front to back."""
        paths_index = PathIndex.of(name for path in paths for name in _all_names(path))
        self._databases = (
            dpkg.DpkgDatabase(paths_index),
            apk.ApkDatabase(paths_index),
            rpm.RpmDatabase(paths_index, self._note),
            pypi.PypiDatabase(paths_index),
            npm.NpmDatabase(paths_index),
        )
        for layer, record in enumerate(self._records if paths_index.paths else ()):
            self._layer = layer
            for entry, packed in record.package_databases.items():
                self._add(record.listing.paths[entry], zlib.decompress(packed))

    def _note(self, where: str, reason: str, transient: bool) -> None:
        self.skipped.append(Skipped(f"/{where}", self._layer, f"{reason}: the package of a file may be unknown"))
        self.transient |= transient

    def _add(self, path: str, content: bytes) -> None:
        for database in self._databases:
            database.add(path, content)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that brought a file; the one whose checksum fits, where several claim it."""
        claims = [
            found
            for name in names_of(path)
            for database in self._databases
            if (found := database.package_of(name, checksums)) is not None
        ]
        return max(claims, key=lambda package: (package.unmodified is True, package.unmodified is None), default=None)


def _all_names(path: str) -> Iterator[str]:
    """Yield the names that a database may know a file by, and those of the source of a compiled one."""
    for name in names_of(path):
        yield name
        source = pypi.source_of(name)
        if source is not None:
            yield source


def names_of(path: str) -> Iterable[str]:
    """Yield the names a database may know a file by: before and after the merge of /bin and /lib into /usr."""
    yield path
    if path.startswith("usr/"):
        yield path[4:]
    else:
        yield "usr/" + path
