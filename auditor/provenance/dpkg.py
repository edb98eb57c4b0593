"""Packages of dpkg: info/*.md5sums, conffiles in status, files of ucf. Source: dpkg(1), deb-md5sums(5), ucf(1).

Packages install some configuration files with ucf. It keeps a copy of each in its cache, the checksums in a file
`hashfile`, and the packages in a file `registry`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.core.finding import Package
from auditor.provenance.checksums import Checksums
from auditor.provenance.path_index import PathIndex, decode, encode

_DIGITS = 32
UCF_HASHES, UCF_REGISTRY = "/ucf/hashfile", "/ucf/registry"
"""Endings of the paths of ucf's files."""
_UCF_CACHE = b"/ucf/cache"
_MD5 = re.compile(rb"[0-9a-f]{32}")


@dataclass(slots=True)
class _Claims:
    """Packages that list one file: the first, and each by its checksum of the file."""

    first: str
    by_sum: dict[bytes, str] = field(default_factory=dict)


class DpkgOwners:
    """Owners by dpkg's lists of checksums and conffiles."""

    def __init__(self, index: PathIndex) -> None:
        self._index = index
        self._sums: dict[bytes, _Claims] = {}
        self._conffiles: dict[bytes, tuple[str, bytes]] = {}
        self._ucf_sums: dict[bytes, bytes] = {}
        self._ucf_packages: dict[bytes, str] = {}
        self._versions: dict[str, str] = {}

    def add(self, path: str, content: bytes) -> None:
        """Add a list of checksums, a status file (distroless images have both in status.d), or a file of ucf."""
        name = path.rpartition("/")[2]
        if path.endswith(UCF_HASHES):
            self._ucf_sums.update(_ucf_lines(content))
        elif path.endswith(UCF_REGISTRY):
            self._ucf_packages.update((file, decode(package)) for file, package in _ucf_lines(content))
        elif name.endswith(".md5sums"):
            self._add_sums(name.removesuffix(".md5sums").partition(":")[0], content)
        else:
            self._add_status(content)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file; of several, the one with its checksum."""
        encoded = encode(path)
        md5 = checksums.md5.encode() if checksums else b""
        claims = self._sums.get(encoded)
        if claims is not None:
            name = claims.by_sum.get(md5, claims.first)
            return Package("dpkg", name, self._versions.get(name, ""), md5 in claims.by_sum if md5 else None)
        if encoded in self._conffiles:
            name, own = self._conffiles[encoded]
            return Package("dpkg", name, self._versions.get(name, ""), md5 == own if md5 else None)
        return self._ucf_package(encoded, md5)

    def _ucf_package(self, path: bytes, md5: bytes) -> Package | None:
        """Return the package of a file of ucf, or of its copy in the cache of ucf."""
        folder, _, name = path.rpartition(b"/")
        file = name.replace(b":", b"/") if folder.endswith(_UCF_CACHE) else b"/" + path
        if file not in self._ucf_sums:
            return None
        package = self._ucf_packages.get(file, "")
        return Package("dpkg", package, self._versions.get(package, ""), md5 == self._ucf_sums[file] if md5 else None)

    def _add_sums(self, package: str, content: bytes) -> None:
        """Add lines of 32 digits, two blanks and a path."""
        for line in io.BytesIO(content):
            path = line[_DIGITS + 2 :].rstrip(b"\n")
            if path in self._index.paths and line[_DIGITS : _DIGITS + 2] == b"  ":
                self._sums.setdefault(path, _Claims(package)).by_sum.setdefault(line[:_DIGITS], package)

    def _add_status(self, content: bytes) -> None:
        """Add paragraphs of `Package: NAME`, `Version: VERSION` and, below `Conffiles:`, ` /PATH MD5`."""
        package = ""
        for key, value in _fields(content):
            if key == b"Package":
                package = decode(value)
            elif key == b"Version" and package:
                self._versions.setdefault(package, decode(value))
            elif key == b"" and package:
                path, _, md5 = value.partition(b" ")
                if path in self._index.paths and _MD5.match(md5):
                    self._conffiles.setdefault(path, (package, md5[:_DIGITS]))


def _ucf_lines(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and first word of lines `MD5  /PATH` or `PACKAGE /PATH`."""
    for line in io.BytesIO(content):
        word, _, path = line.strip().partition(b" ")
        yield path.strip(), word


def _fields(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; of a line ` /PATH MD5` an empty key and `PATH MD5`."""
    for line in io.BytesIO(content):
        if line.startswith(b" /"):
            yield b"", line[2:].rstrip(b"\n")
        elif line.startswith((b"Package: ", b"Version: ")):
            key, _, value = line.partition(b": ")
            yield key, value.rstrip(b"\n")
        elif line == b"\n":
            yield b"Package", b""
