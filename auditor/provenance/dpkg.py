"""dpkg: info/*.md5sums and the conffiles in status. Source: dpkg(1), deb-md5sums(5)."""

from __future__ import annotations

import re

from auditor.model import Package
from auditor.scan.record import Checksums


class Database:
    """Sums by package, and versions."""

    def __init__(self) -> None:
        self._sums: list[tuple[str, bytes]] = []
        self._status: list[bytes] = []

    def add(self, path: str, content: bytes) -> None:
        """Take md5sums (also those of distroless images, in status.d) and status files."""
        name = path.rpartition("/")[2]
        if name.endswith(".md5sums"):
            self._sums.append((name.removesuffix(".md5sums").partition(":")[0], b"\n" + content))
        elif path.endswith("/dpkg/status") or "/dpkg/status.d/" in path:
            self._status.append(b"\n\n" + content)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package whose list names the file."""
        encoded = path.encode("utf-8", "surrogateescape")
        best: Package | None = None
        for name, sums in self._sums:
            at = sums.find(b"  " + encoded + b"\n")
            if at >= 32:
                same = checksums.md5.encode() == sums[at - 32 : at] if checksums else None
                found = Package("dpkg", name, self._version(name), same)
                if same:
                    return found
                best = best or found
        return best or self._conffile(encoded, checksums)

    def _conffile(self, path: bytes, checksums: Checksums | None) -> Package | None:
        for status in self._status:
            match = re.search(rb"\n /%b ([0-9a-f]{32})" % re.escape(path), status)
            if match:
                begin = status.rfind(b"\nPackage: ", 0, match.start())
                name = status[begin + 10 : status.find(b"\n", begin + 1)].decode("utf-8", "replace")
                same = checksums.md5.encode() == match[1] if checksums else None
                return Package("dpkg", name, self._version(name), same)
        return None

    def _version(self, name: str) -> str:
        for status in self._status:
            begin = status.find(f"\nPackage: {name}\n".encode())
            if begin >= 0:
                end = status.find(b"\n\n", begin + 1)
                match = re.search(rb"\nVersion: ([^\n]+)", status[begin : end if end > 0 else None])
                if match:
                    return match[1].decode("utf-8", "replace")
        return ""
