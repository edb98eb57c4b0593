"""Comparison of two images by the exports of an engine: a check of the proof by independent code.

`docker export` writes the file system of a container, with times in seconds. Times of folders are not compared, because
implied folders have the time of loading; nor are the files that the engine creates in every container.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator

from auditor.images import daemon
from auditor.rebuild.comparison import Comparison
from auditor.rebuild.engine_export import ENGINE_FILES

_CHUNK = 1 << 20
_Entry = tuple[object, ...]


def compare_in_engine(before: str, after: str) -> Comparison:
    """Compare two images of the engine by their exports. Raises NotFound, Unreachable."""
    result, known = Comparison(), dict(_entries(before))
    for path, entry in _entries(after):
        result.paths += 1
        was = known.pop(path, None)
        if was is None:
            result.differs(path, "is new in the engine's export of the output")
        elif was != entry:
            result.differs(path, "differs in the engine's export of the output")
    for path in known:
        result.differs(path, "is missing in the engine's export of the output")
    return result


def _entries(name: str) -> Iterator[tuple[str, _Entry]]:
    """Yield path and attributes of each entry of an image's export; the content as a digest."""
    with daemon.exported(name) as stream, tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every entry
            if member.name in ENGINE_FILES:
                continue
            time = None if member.isdir() else int(member.mtime)
            xattrs = tuple(sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")))
            yield (
                member.name,
                (member.type, member.mode, member.uid, member.gid, time, member.linkname, member.devmajor,
                 member.devminor, xattrs, _digest(tar, member)),
            )  # fmt: skip


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    body, digest = tar.extractfile(member) if member.isreg() else None, hashlib.sha256()
    while body is not None and (chunk := body.read(_CHUNK)):
        digest.update(chunk)
    return digest.digest()
