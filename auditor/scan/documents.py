"""Which files of a layer are package databases, whose content is kept: they tell what a package brought."""

from __future__ import annotations

_ENDINGS = (
    ".md5sums",
    "/dpkg/status",
    "apk/db/installed",
    ".dist-info/RECORD",
    "/package.json",
    "/rpmdb.sqlite",
)
_DISTROLESS = "/dpkg/status.d/"


def is_document(path: str) -> bool:
    """Whether a path, relative to the root, is that of a package database."""
    if not path.endswith(_ENDINGS):
        return _DISTROLESS in path
    return not path.endswith("/package.json") or "node_modules/" in path
