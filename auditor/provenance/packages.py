"""Package owners by all package databases of an image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from auditor.core.entries import Skipped
from auditor.core.finding import Package
from auditor.layers.listing import Listing
from auditor.provenance import pypi
from auditor.provenance.checksums import Checksums
from auditor.provenance.databases import PACKAGE_DATABASES, FileOwners, PackageDatabase
from auditor.provenance.path_index import PathIndex


class LayerDatabases(Protocol):
    """The entries of a layer, and the content of its package databases by entry, zlib-compressed."""

    @property
    def listing(self) -> Listing: ...

    @property
    def package_databases(self) -> Mapping[int, bytes]: ...


class Packages:
    """The package databases of an image's layers. Databases that a later layer deletes count as well.

    `read` takes the paths to look up; the owner of other paths is unknown. `skipped` are the databases that
    could not be read in full; with `transient`, another run may read more of them.
    """

    def __init__(self, layers: Sequence[LayerDatabases]) -> None:
        self.skipped: list[Skipped] = []
        self.transient = False
        self._layers, self._layer = layers, 0
        self._owners: tuple[tuple[PackageDatabase, FileOwners], ...] = ()

    def read(self, paths: Iterable[str]) -> None:
        """Read the databases for the files at relative paths, each database once."""
        index = PathIndex.of(alias for path in paths for alias in _all_aliases(path))
        self._owners = tuple((row, row.owners(index, self._note)) for row in PACKAGE_DATABASES)
        for layer, databases in enumerate(self._layers if index.paths else ()):
            self._layer = layer
            for entry, packed in databases.package_databases.items():
                self._add(databases.listing.paths[entry], zlib.decompress(packed))

    def _note(self, path: str, reason: str, transient: bool) -> None:
        self.skipped.append(Skipped(f"/{path}", self._layer, f"{reason}: the package of a file may be unknown"))
        self.transient |= transient

    def _add(self, path: str, content: bytes) -> None:
        for row, owners in self._owners:
            if any(file.matches(path) for file in row.files):
                owners.add(path, content)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that owns a file. Of several, the one with a matching checksum."""
        packages = [
            package
            for alias in aliases(path)
            for _, owners in self._owners
            if (package := owners.package_of(alias, checksums)) is not None
        ]
        return max(packages, key=lambda package: (package.unmodified is True, package.unmodified is None), default=None)


def _all_aliases(path: str) -> Iterator[str]:
    """Yield the paths by which a database may list a file, and those of the source of a compiled Python file."""
    for alias in aliases(path):
        yield alias
        source = pypi.source_of(alias)
        if source is not None:
            yield source


def aliases(path: str) -> Iterable[str]:
    """Yield the paths by which a database may list a file: before and after the merge of /bin and /lib into /usr."""
    yield path
    if path.startswith("usr/"):
        yield path[4:]
    else:
        yield "usr/" + path
