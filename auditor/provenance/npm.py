"""npm packages: package.json under node_modules. It holds no checksums, so nobody can say that a file is unmodified."""

from __future__ import annotations

import re

from auditor.core.finding import Package
from auditor.provenance.path_index import PathIndex
from auditor.scan.record import Checksums

_VERSION = re.compile(rb'"version"\s*:\s*"([^"\\]{1,100})"')


class NpmDatabase:
    """Versions by the folder of the package."""

    def __init__(self, _: PathIndex) -> None:
        self._versions: dict[str, str] = {}

    def add(self, path: str, content: bytes) -> None:
        """Take a package.json."""
        folder, _, name = path.rpartition("/")
        if name == "package.json" and _package(folder + "/x") == folder:
            match = _VERSION.search(content)
            self._versions[folder] = match[1].decode("utf-8", "replace") if match else ""

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:  # noqa: ARG002
        """Return the package in whose folder under node_modules the file lies."""
        folder = _package(path)
        if folder is None or folder not in self._versions:
            return None
        return Package("npm", folder.rpartition("node_modules/")[2], self._versions[folder], None)


def _package(path: str) -> str | None:
    """Return the folder of the innermost package that holds a path: `…/node_modules/[@scope/]name`."""
    head, marker, tail = path.rpartition("node_modules/")
    parts = tail.split("/")
    length = 2 if parts[0].startswith("@") else 1
    if not marker or len(parts) <= length:
        return None
    return f"{head}node_modules/{'/'.join(parts[:length])}"
