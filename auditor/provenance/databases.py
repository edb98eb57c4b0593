"""The table of package databases: their files, and the class that reads them.

A new package manager is a module with its class and a row in `PACKAGE_DATABASES`. The scan of a layer copies the files
of the table into its record, reduced to the lines that name packages, files and checksums: other lines may hold
secrets, and a record is cached.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from auditor.core.dataclass import dataclass
from auditor.core.finding import Package
from auditor.extract.budget import SkipCallback
from auditor.provenance import apk, dpkg, npm, pypi, rpm
from auditor.provenance.checksums import Checksums
from auditor.provenance.path_index import PathIndex


class FileOwners(Protocol):
    """Owners of files by the databases of one package manager."""

    def add(self, path: str, content: bytes) -> None:
        """Add a file of the database. Malformed content is ignored."""
        ...

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that owns the file at a relative path."""
        ...


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """Files of a package database: by the ending of their path, a folder in it, or both."""

    reduced: Callable[[bytes], bytes]
    """Function from content to the part that a layer record keeps."""
    ending: str = ""
    folder: str = ""

    def matches(self, path: str) -> bool:
        """Tell whether a relative path is matched by this row."""
        return path.endswith(self.ending) and self.folder in path


@dataclass(frozen=True, slots=True)
class PackageDatabase:
    """The databases of one package manager."""

    manager: str
    """The name in reports."""
    files: tuple[DatabaseFile, ...]
    owners: Callable[[PathIndex, SkipCallback], FileOwners]
    """Constructor: from the paths to look up, and a callback for databases that can't be read."""
    has_checksums: bool = True
    """Whether the databases tell if a file is unmodified."""


def _lines(pattern: bytes) -> Callable[[bytes], bytes]:
    expression = re.compile(pattern, re.M)

    def reduced(content: bytes) -> bytes:
        return b"".join(expression.findall(content if content.endswith(b"\n") else content + b"\n"))

    return reduced


def _whole(content: bytes) -> bytes:
    """Return a binary database as it is: only an isolated process may parse it."""
    return content


_STATUS = _lines(rb"^(?:(?:Package|Version): .*|Conffiles:| /.* [0-9a-f]{32}.*)?\n")

PACKAGE_DATABASES = (
    PackageDatabase(
        "dpkg",
        (
            DatabaseFile(_lines(rb"^[0-9a-f]{32}  .*\n"), ".md5sums"),
            DatabaseFile(_STATUS, "/dpkg/status"),
            DatabaseFile(_STATUS, folder="/dpkg/status.d/"),  # distroless images
            DatabaseFile(_lines(rb"^[0-9a-f]{32} +/.*\n"), dpkg.UCF_HASHES),
            DatabaseFile(_lines(rb"^[a-z0-9][a-z0-9+.-]*[ \t]+/.*\n"), dpkg.UCF_REGISTRY),
        ),
        lambda index, _: dpkg.DpkgOwners(index),
    ),
    PackageDatabase(
        "apk",
        (DatabaseFile(_lines(rb"^(?:[FPRVZ]:.*)?\n"), "apk/db/installed"),),
        lambda index, _: apk.ApkOwners(index),
    ),
    PackageDatabase("rpm", (DatabaseFile(_whole, "/rpmdb.sqlite"),), rpm.RpmOwners),
    PackageDatabase(
        "pypi",
        (DatabaseFile(_lines(rb"^.*,(?:sha\d+=[\w-]+=*)?,\d*\r?\n"), ".dist-info/RECORD"),),
        lambda index, _: pypi.PypiOwners(index),
    ),
    PackageDatabase(
        "npm",
        (DatabaseFile(npm.version_field, "/package.json", "node_modules/"),),
        lambda _, __: npm.NpmOwners(),
        has_checksums=False,
    ),
)
BY_MANAGER = {row.manager: row for row in PACKAGE_DATABASES}

_FILES = tuple(file for row in PACKAGE_DATABASES for file in row.files)
_ENDINGS = tuple(file.ending for file in _FILES if file.ending)
(_FOLDER,) = (file.folder for file in _FILES if not file.ending)
"""Together they exclude nearly every path of an image."""


def is_package_database(path: str) -> bool:
    """Tell whether a relative path is a file of a package database."""
    return (path.endswith(_ENDINGS) or _FOLDER in path) and database_file(path) is not None


def reduced(path: str, content: bytes) -> bytes:
    """Return the part of a package database's file that a layer record keeps."""
    file = database_file(path)
    return file.reduced(content) if file is not None else b""


def database_file(path: str) -> DatabaseFile | None:
    """Return the row of a file that belongs to a package database, by its relative path; None for any other file."""
    return next((file for file in _FILES if file.matches(path)), None)
