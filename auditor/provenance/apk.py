"""apk: lib/apk/db/installed. Source: Alpine's "Apk spec", the installed database."""

from __future__ import annotations

import base64
import binascii

from auditor.model import Package
from auditor.scan.record import Checksums


class Database:
    """Files of installed packages with their SHA-1, as base64 after `Q1`."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Take an installed database: records of `KEY:value` lines, a folder line before its files."""
        if not path.endswith("apk/db/installed"):
            return
        package = version = folder = name = ""
        for line in content.decode("utf-8", "surrogateescape").splitlines():
            key, value = line[:2], line[2:]
            if key == "P:":
                package, version, folder = value, "", ""
            elif key == "V:":
                version = value
            elif key == "F:":
                folder = value
            elif key == "R:":
                name = f"{folder}/{value}" if folder else value
                self._files[name] = (package, version, "")
            elif key == "Z:" and name:
                self._files[name] = (package, version, _hex(value))
                name = ""

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file."""
        found = self._files.get(path)
        if found is None:
            return None
        package, version, sha1 = found
        return Package("apk", package, version, checksums.sha1 == sha1 if checksums and sha1 else None)


def _hex(value: str) -> str:
    """Return `Q1` and base64 as hexadecimal digits; nothing for another kind of checksum."""
    try:
        return base64.b64decode(value.removeprefix("Q1"), validate=True).hex() if value.startswith("Q1") else ""
    except (binascii.Error, ValueError):
        return ""
