"""PyPI packages: *.dist-info/RECORD. Source: "Recording installed projects", packaging.python.org."""

from __future__ import annotations

import base64
import io
import re

from auditor.core.finding import Package
from auditor.provenance.path_index import PathIndex, decode, encode
from auditor.scan.record import Checksums

_COMPILED = re.compile(r"((?:.*/)?)__pycache__/([^/]+?)\.[^/.]+(?:\.opt-\d)?\.pyc")


def source_of(path: str) -> str | None:
    """Return the source of a compiled file in `__pycache__`, None for any other file."""
    match = _COMPILED.fullmatch(path)
    return f"{match[1]}{match[2]}.py" if match else None


class PypiDatabase:
    """Wanted files and sources with the hash that a RECORD gives them, of several the one of the innermost folder."""

    def __init__(self, paths_index: PathIndex) -> None:
        self._index = paths_index
        self._files: dict[bytes, tuple[int, str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Take a RECORD: lines of a path relative to the folder above `.dist-info`, a hash and a size."""
        above, _, name = path.rpartition("/")
        if name != "RECORD" or not above.endswith(".dist-info"):
            return
        site, _, info = above.rpartition("/")
        package, _, version = info.removesuffix(".dist-info").partition("-")
        for line in io.BytesIO(content):
            listed, digest = _row(line)
            below, _, base = listed.rpartition(b"/")
            if base not in self._index.folders:  # as most are: no path is joined for these
                continue
            file = b"/".join(part for part in (encode(site), below, base) if part)
            if file in self._index.paths and self._files.get(file, (-1,))[0] < len(site):
                self._files[file] = len(site), package, version, decode(digest)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package whose RECORD lists the file. A compiled file counts as its source does."""
        own = self._files.get(encode(path))
        if own is not None:
            return Package("pypi", own[1], own[2], _same(own[3], checksums))
        source = source_of(path)
        found = self._files.get(encode(source)) if source else None
        return Package("pypi", found[1], found[2], True) if found else None


def _row(line: bytes) -> tuple[bytes, bytes]:
    """Return path and hash of a line of CSV, in which a path with a comma or a quote is quoted."""
    path, _, rest = line.rpartition(b",")[0].rpartition(b",")
    if path[:1] == b'"' and path[-1:] == b'"':
        path = path[1:-1].replace(b'""', b'"')
    return path, rest


def _same(digest: str, checksums: Checksums | None) -> bool | None:
    if checksums is None or not digest.startswith("sha256="):
        return None
    return base64.urlsafe_b64encode(bytes.fromhex(checksums.sha256)).decode().rstrip("=") == digest[7:].rstrip("=")
