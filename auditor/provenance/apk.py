"""Packages of apk: lib/apk/db/installed. Source: Alpine's "Apk spec", the installed database."""

from __future__ import annotations

import base64
import binascii
import io

from auditor.core.finding import Package
from auditor.provenance.checksums import Checksums
from auditor.provenance.path_index import PathIndex, decode, encode


class ApkOwners:
    """Owners by apk's database, which lists each file with its SHA-1: `Q1` and base64."""

    def __init__(self, index: PathIndex) -> None:
        self._index = index
        self._files: dict[bytes, tuple[str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:  # noqa: ARG002
        """Add an installed database: records of `KEY:value` lines, a folder line before its files."""
        package = version = folder = name = b""
        for line in io.BytesIO(content):
            key, value = line[:2], line[2:].rstrip(b"\r\n")
            if key == b"P:":
                package, version, folder, name = value, b"", b"", b""
            elif key == b"V:":
                version = value
            elif key == b"F:":
                folder, name = value, b""
            elif key == b"R:":
                name = (folder + b"/" + value if folder else value) if self._index.contains(folder, value) else b""
                if name:
                    self._files[name] = (decode(package), decode(version), "")
            elif key == b"Z:" and name:
                self._files[name] = (decode(package), decode(version), _hex(value))
                name = b""

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file."""
        listed = self._files.get(encode(path))
        if listed is None:
            return None
        package, version, sha1 = listed
        return Package("apk", package, version, checksums.sha1 == sha1 if checksums and sha1 else None)


def _hex(value: bytes) -> str:
    """Return a checksum of `Q1` and base64 as hexadecimal digits; "" for another kind of checksum."""
    try:
        return base64.b64decode(value.removeprefix(b"Q1"), validate=True).hex() if value.startswith(b"Q1") else ""
    except (binascii.Error, ValueError):
        return ""
