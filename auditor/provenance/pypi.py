"""Python packages: *.dist-info/RECORD. Source: "Recording installed projects", packaging.python.org."""

from __future__ import annotations

import base64
import io

from auditor.core.finding import Package
from auditor.provenance.checksums import Checksums
from auditor.provenance.path_index import PathIndex, decode, encode

_FEW = 50
"""File names for which a whole RECORD is searched before its lines are read."""


class PypiOwners:
    """Owners by RECORD files, which list each file with its hash. Of several the innermost folder counts."""

    def __init__(self, index: PathIndex) -> None:
        self._index = index
        self._files: dict[bytes, tuple[int, str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Add a RECORD: lines of a path relative to the folder of `*.dist-info`, a hash and a size."""
        names = self._index.folders
        if len(names) <= _FEW and not any(name.replace(b'"', b'""') in content for name in names):
            return
        site, _, info = path.rpartition("/")[0].rpartition("/")
        package, _, version = info.removesuffix(".dist-info").partition("-")
        for line in io.BytesIO(content):
            listed, digest = _row(line)
            below, _, base = listed.rpartition(b"/")
            if base not in names:  # most lines
                continue
            file = b"/".join(part for part in (encode(site), below, base) if part)
            if file in self._index.paths and self._files.get(file, (-1,))[0] < len(site):
                self._files[file] = len(site), package, version, decode(digest)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file."""
        listed = self._files.get(encode(path))
        return Package("pypi", listed[1], listed[2], _is_unmodified(listed[3], checksums)) if listed else None


def _row(line: bytes) -> tuple[bytes, bytes]:
    """Return path and hash of a CSV line; a path with a comma or a quote is in quotes."""
    path, _, rest = line.rpartition(b",")[0].rpartition(b",")
    if path[:1] == b'"' and path[-1:] == b'"':
        path = path[1:-1].replace(b'""', b'"')
    return path, rest


def _is_unmodified(digest: str, checksums: Checksums | None) -> bool | None:
    if checksums is None or not digest.startswith("sha256="):
        return None
    return base64.urlsafe_b64encode(bytes.fromhex(checksums.sha256)).decode().rstrip("=") == digest[7:].rstrip("=")
