"""PyPI packages: *.dist-info/RECORD. Source: "Recording installed projects", packaging.python.org."""

from __future__ import annotations

import base64
import posixpath
import re

from auditor.model import Package
from auditor.scan.record import Checksums

_COMPILED = re.compile(r"(?:(?P<folder>.*)/)?__pycache__/(?P<name>[^/]+?)\.[^/.]+(?:\.opt-\d)?\.pyc")


class Database:
    """RECORD files by the folder that their paths are relative to."""

    def __init__(self) -> None:
        self._records: dict[str, list[tuple[str, str, bytes]]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Take a RECORD."""
        folder, _, name = path.rpartition("/")
        if name != "RECORD" or not folder.endswith(".dist-info"):
            return
        site, _, info = folder.rpartition("/")
        package, _, version = info.removesuffix(".dist-info").partition("-")
        self._records.setdefault(site, []).append((package, version, b"\n" + content.replace(b"\r\n", b"\n")))

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package whose RECORD lists the file. A compiled file counts as its source does."""
        site = posixpath.dirname(path)
        while site and site not in self._records:
            site = posixpath.dirname(site)
        for package, version, record in self._records.get(site, ()):
            relative = posixpath.relpath(path, site)
            digest = _listed(record, relative)
            if digest is not None:
                return Package("pypi", package, version, _same(digest, checksums))
            source = _source(relative)
            if source is not None and _listed(record, source) is not None:
                return Package("pypi", package, version, True)
        return None


def _listed(record: bytes, path: str) -> str | None:
    """Return the hash that a RECORD gives a path, "" where it gives none, None where it does not list it."""
    wanted = path.encode("utf-8", "surrogateescape")
    for start in (b"\n" + wanted + b",", b'\n"' + wanted.replace(b'"', b'""') + b'",'):
        at = record.find(start)
        if at >= 0:
            rest = record[at + len(start) : at + len(start) + 200].partition(b"\n")[0]
            return rest.partition(b",")[0].decode("ascii", "replace")
    return None


def _same(digest: str, checksums: Checksums | None) -> bool | None:
    if checksums is None or not digest.startswith("sha256="):
        return None
    return base64.urlsafe_b64encode(bytes.fromhex(checksums.sha256)).decode().rstrip("=") == digest[7:].rstrip("=")


def _source(path: str) -> str | None:
    match = _COMPILED.fullmatch(path)
    return posixpath.join(match["folder"] or "", match["name"] + ".py") if match else None
