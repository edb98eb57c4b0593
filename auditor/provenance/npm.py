"""Packages of npm: package.json under node_modules. It has no checksums, so `unmodified` is always unknown."""

from __future__ import annotations

import re

from auditor.core.finding import Package
from auditor.provenance.checksums import Checksums

_VERSION = re.compile(rb'"version"\s*:\s*"([^"\\]{1,100})"')


def version_field(content: bytes) -> bytes:
    """Return the version field of a package.json."""
    match = _VERSION.search(content)
    return match[0] if match else b""


class NpmOwners:
    """Owners by the folder of the package under node_modules."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}

    def add(self, path: str, content: bytes) -> None:
        """Add the package.json of a package; those in its subfolders are ignored."""
        folder, _, name = path.rpartition("/")
        if name == "package.json" and _package_folder(folder + "/x") == folder:
            match = _VERSION.search(content)
            self._versions[folder] = match[1].decode("utf-8", "replace") if match else ""

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:  # noqa: ARG002
        """Return the package with the file in its folder."""
        folder = _package_folder(path)
        if folder is None or folder not in self._versions:
            return None
        return Package("npm", folder.rpartition("node_modules/")[2], self._versions[folder], None)


def _package_folder(path: str) -> str | None:
    """Return the folder of the innermost package around a path: `…/node_modules/[@scope/]name`."""
    head, marker, tail = path.rpartition("node_modules/")
    parts = tail.split("/")
    length = 2 if parts[0].startswith("@") else 1
    if not marker or len(parts) <= length:
        return None
    return f"{head}node_modules/{'/'.join(parts[:length])}"
