"""rpm: the SQLite database. Source: rpm's "RPM v4 header" format, and lib/rpmtag.h for the tags."""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Sequence
from typing import Any

from auditor.limits import Limits
from auditor.model import Package
from auditor.scan.record import Checksums
from auditor.unpack import isolated
from auditor.unpack.limits import Budget, Exhausted, Note, Room

_NAME, _VERSION, _RELEASE, _DIGESTS = 1000, 1001, 1002, 1035
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _ALGORITHM = 1116, 1117, 1118, 5011
_INT32, _STRING, _STRINGS, _I18N = 4, 6, 8, 9
_SHA256 = 8  # PGP's number of the hash, RFC 4880; without the tag it is MD5
_MAX_ITEMS = 1_000_000
_LIMITS = Limits(members=100_000, member_bytes=64 << 20)


class Database:
    """Files of installed packages with their digests."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._files: dict[str, tuple[str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Take an rpmdb.sqlite; of a broken one what can be read."""
        if not path.endswith("/rpmdb.sqlite") or len(content) < 100:
            return
        budget = Budget(_LIMITS, path, len(content), self._note)
        try:
            for header in isolated.read(content, Room(budget, path, None), "rpmdb"):
                self._add_package(header.body)
        except Exhausted as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def _add_package(self, blob: Any) -> None:
        try:
            tags = _header(blob)
        except (struct.error, ValueError, IndexError, TypeError):
            return
        name = "".join(tags.get(_NAME, [""])[:1])
        version = "-".join(str(tags[tag][0]) for tag in (_VERSION, _RELEASE) if tags.get(tag))
        folders, digests = tags.get(_DIR_NAMES, []), tags.get(_DIGESTS, [])
        sha256 = list(tags.get(_ALGORITHM, [0])[:1]) == [_SHA256]
        for at, (base, folder) in enumerate(zip(tags.get(_BASE_NAMES, []), tags.get(_DIR_INDEXES, []), strict=False)):
            if isinstance(folder, int) and folder < len(folders):
                path = posixpath.join(str(folders[folder]), str(base)).lstrip("/")
                digest = str(digests[at]) if at < len(digests) and sha256 else ""
                self._files[path] = (name, version, digest)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file."""
        found = self._files.get(path)
        if found is None:
            return None
        name, version, digest = found
        return Package("rpm", name, version, checksums.sha256 == digest if checksums and digest else None)


def _header(blob: bytes) -> dict[int, Sequence[Any]]:
    """Parse a header without its magic: counts, an index of 16 bytes a tag, then the data. All big-endian."""
    count, length = struct.unpack_from(">II", blob)
    base = 8 + 16 * count
    if count > 10_000 or base + length > len(blob):
        raise ValueError("not an rpm header")
    tags: dict[int, Sequence[Any]] = {}
    for at in range(8, base, 16):
        tag, kind, offset, items = struct.unpack_from(">IIII", blob, at)
        if items > _MAX_ITEMS:
            raise ValueError("too many items")
        if kind == _INT32:
            tags[tag] = struct.unpack_from(f">{items}I", blob, base + offset)
        elif kind in (_STRING, _STRINGS, _I18N):
            tags[tag] = _strings(blob, base + offset, items)
    return tags


def _strings(blob: bytes, at: int, count: int) -> list[str]:
    found = []
    for _ in range(count):
        end = blob.index(b"\0", at)
        found.append(blob[at:end].decode("utf-8", "surrogateescape"))
        at = end + 1
    return found
