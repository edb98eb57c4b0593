"""Package owners by all package databases of an image."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from auditor.core.entries import Skipped
from auditor.core.finding import Package
from auditor.layers.listing import Listing
from auditor.provenance.checksums import Checksums
from auditor.provenance.databases import PACKAGE_DATABASES, FileOwners, PackageDatabase
from auditor.provenance.path_index import PathIndex

_COMPILED = re.compile(r"((?:.*/)?)__pycache__/([^/]+?)\.[^/.]+(?:\.opt-\d)?\.pyc")


class LayerDatabases(Protocol):
    """The entries of a layer, its package databases by entry, zlib-compressed, and the checksums of some files."""

    @property
    def listing(self) -> Listing: ...

    @property
    def package_databases(self) -> Mapping[int, bytes]: ...

    @property
    def checksums(self) -> Mapping[int, Checksums]: ...


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
        self._source_checksums: dict[str, Checksums] = {}

    def read(self, paths: Iterable[str]) -> None:
        """Read the databases for the files at relative paths, each database once."""
        paths = list(paths)
        sources = {source for path in paths if (source := source_of(path)) is not None}
        for records in self._layers if sources else ():
            names, sums = records.listing.paths, records.checksums
            self._source_checksums |= {names[at]: own for at, own in sums.items() if names[at] in sources}
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
        """Return the package that owns a file, or the source of a compiled Python file.

        Installers compile Python files, so databases list compiled files without a checksum or not at all. They are
        unmodified unless their source is known to be modified.
        """
        package = self._owner(path, checksums)
        source = source_of(path)
        if source is None or (package is not None and package.unmodified is not None):
            return package
        compiled = self._owner(source, self._source_checksums.get(source))
        return package if compiled is None else replace(compiled, unmodified=compiled.unmodified is not False)

    def _owner(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists a file. Of several, the one with a matching checksum."""
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
        source = source_of(alias)
        if source is not None:
            yield source


def aliases(path: str) -> Iterable[str]:
    """Yield the paths by which a database may list a file: before and after the merge of /bin and /lib into /usr."""
    yield path
    if path.startswith("usr/"):
        yield path[4:]
    else:
        yield "usr/" + path


def source_of(path: str) -> str | None:
    """Return the path of the source of a compiled file in `__pycache__`; None for any other file."""
    match = _COMPILED.fullmatch(path)
    return f"{match[1]}{match[2]}.py" if match else None
