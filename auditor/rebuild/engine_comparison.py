"""What an engine shows of two images: the proof's check by a program that shares nothing with this one.

`docker export` writes the file system that a container would see. It cuts times to seconds. The times of folders are
left out, for those that no entry of a layer names have that of the load; so are the files that the engine makes in
every container.
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
            result.differs(path, "is new in what the engine shows of the output")
        elif was != entry:
            result.differs(path, "is other in what the engine shows of the output")
    for path in known:
        result.differs(path, "is missing in what the engine shows of the output")
    return result


def _entries(name: str) -> Iterator[tuple[str, _Entry]]:
    """Yield by path the attributes of each entry of an image's export, its content as a digest."""
    with daemon.exported(name) as stream, tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
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
