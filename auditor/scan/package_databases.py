"""Package databases among a layer's files, reduced to the names, versions and digests that provenance needs."""

from __future__ import annotations

import re

_ENDINGS = (
    ".md5sums",
    "/dpkg/status",
    "apk/db/installed",
    ".dist-info/RECORD",
    "/package.json",
    "/rpmdb.sqlite",
)
_DISTROLESS = "/dpkg/status.d/"
_VERSION = re.compile(rb'"version"\s*:\s*"[^"\\]{1,100}"')
_LINES = {
    ".md5sums": re.compile(rb"^[0-9a-f]{32}  .*\n", re.M),
    "/installed": re.compile(rb"^(?:[FPRVZ]:.*)?\n", re.M),
    "/RECORD": re.compile(rb"^.*,(?:sha\d+=[\w-]+=*)?,\d*\r?\n", re.M),
}
_STATUS = re.compile(rb"^(?:(?:Package|Version): .*|Conffiles:| /.* [0-9a-f]{32}.*)?\n", re.M)


def is_package_database(path: str) -> bool:
    """Whether a path, relative to the root, is that of a package database."""
    if not path.endswith(_ENDINGS):
        return _DISTROLESS in path
    return not path.endswith("/package.json") or "node_modules/" in path


def reduced(path: str, content: bytes) -> bytes:
    """Return the lines of a package database with package names, files and digests; the others may contain secrets.

    The database of rpm stays complete: only an isolated process may parse it.
    """
    if path.endswith("/rpmdb.sqlite"):
        return content
    if path.endswith("/package.json"):
        version = _VERSION.search(content)
        return version[0] if version else b""
    lines = next((lines for ending, lines in _LINES.items() if path.endswith(ending)), _STATUS)
    return b"".join(lines.findall(content if content.endswith(b"\n") else content + b"\n"))
