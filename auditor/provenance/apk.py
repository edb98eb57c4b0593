"""apk: lib/apk/db/installed. Source: Alpine's "Apk spec", the installed database."""

from __future__ import annotations

import base64
import binascii
import io

from auditor.core.finding import Package
from auditor.provenance.path_index import PathIndex, decode, encode
from auditor.scan.record import Checksums


class ApkDatabase:
    """Wanted files of installed packages with their SHA-1, as base64 after `Q1`."""

    def __init__(self, paths_index: PathIndex) -> None:
        self._index = paths_index
        self._files: dict[bytes, tuple[str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Take an installed database: records of `KEY:value` lines, a folder line before its files."""
        if not path.endswith("apk/db/installed"):
            return
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
                name = (folder + b"/" + value if folder else value) if self._index.holds(folder, value) else b""
                if name:
                    self._files[name] = (decode(package), decode(version), "")
            elif key == b"Z:" and name:
                self._files[name] = (decode(package), decode(version), _hex(value))
                name = b""

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file."""
        found = self._files.get(encode(path))
        if found is None:
            return None
        package, version, sha1 = found
        return Package("apk", package, version, checksums.sha1 == sha1 if checksums and sha1 else None)


def _hex(value: bytes) -> str:
    """Return `Q1` and base64 as hexadecimal digits; nothing for another kind of checksum."""
    try:
        return base64.b64decode(value.removeprefix(b"Q1"), validate=True).hex() if value.startswith(b"Q1") else ""
    except (binascii.Error, ValueError):
        return ""
