"""Packages of rpm: its SQLite database. Source: rpm's "RPM v4 header" format, and lib/rpmtag.h for the tags."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from auditor.core.finding import Package
from auditor.core.limits import Limits
from auditor.extract import isolated_reader
from auditor.extract.budget import Budget, BudgetExceeded, ExtractContext, SkipCallback
from auditor.provenance.checksums import Checksums
from auditor.provenance.path_index import PathIndex, decode, encode

_NAME, _VERSION, _RELEASE, _DIGESTS = 1000, 1001, 1002, 1035
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _ALGORITHM = 1116, 1117, 1118, 5011
_INT32, _STRING, _STRINGS, _I18N = 4, 6, 8, 9
_SHA256 = 8  # number of the hash in RFC 4880; without the tag it is MD5
_TEXTS = frozenset((_NAME, _VERSION, _RELEASE, _DIGESTS, _BASE_NAMES, _DIR_NAMES))
_NUMBERS = frozenset((_DIR_INDEXES, _ALGORITHM))
_MAX_ITEMS, _MAX_TAGS = 1_000_000, 10_000
_LIMITS = Limits(members=100_000, member_bytes=64 << 20)


class RpmOwners:
    """Owners by the headers of the rpm database, which list each file with its digest."""

    def __init__(self, index: PathIndex, note: SkipCallback) -> None:
        self._index, self._note = index, note
        self._files: dict[bytes, tuple[str, str, str]] = {}

    def add(self, path: str, content: bytes) -> None:
        """Add an rpmdb.sqlite. Of a damaged one, the readable headers are added."""
        if len(content) < 100:
            return
        budget = Budget(_LIMITS, path, len(content), self._note)
        try:
            for header in isolated_reader.read(content, ExtractContext(budget, path, None), "rpmdb"):
                self._add_package(header.body)
        except BudgetExceeded as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def _add_package(self, blob: Any) -> None:
        try:
            tags = _header(blob)
        except (struct.error, ValueError, IndexError, TypeError):
            return
        name = decode(b"".join(tags.get(_NAME, [b""])[:1]))
        version = "-".join(decode(tags[tag][0]) for tag in (_VERSION, _RELEASE) if tags.get(tag))
        folders, digests = [folder.strip(b"/") for folder in tags.get(_DIR_NAMES, [])], tags.get(_DIGESTS, [])
        sha256 = list(tags.get(_ALGORITHM, [0])[:1]) == [_SHA256]
        for at, (base, folder) in enumerate(zip(tags.get(_BASE_NAMES, []), tags.get(_DIR_INDEXES, []), strict=False)):
            if folder < len(folders) and self._index.contains(folders[folder], base):
                path = folders[folder] + b"/" + base if folders[folder] else base
                digest = decode(digests[at]) if at < len(digests) and sha256 else ""
                self._files[path] = (name, version, digest)

    def package_of(self, path: str, checksums: Checksums | None) -> Package | None:
        """Return the package that lists the file."""
        listed = self._files.get(encode(path))
        if listed is None:
            return None
        name, version, digest = listed
        return Package("rpm", name, version, checksums.sha256 == digest if checksums and digest else None)


def _header(blob: bytes) -> dict[int, Sequence[Any]]:
    """Parse a header without its magic: counts, an index of 16 bytes a tag, then the data. All big-endian.

    Of repeated tags the last counts, so that no value is read twice.
    """
    count, length = struct.unpack_from(">II", blob)
    base = 8 + 16 * count
    if count > _MAX_TAGS or base + length > len(blob):
        raise ValueError("not an rpm header")
    index: dict[int, tuple[int, int, int]] = {}
    for at in range(8, base, 16):
        tag, kind, offset, items = struct.unpack_from(">IIII", blob, at)
        if tag in (_NUMBERS if kind == _INT32 else _TEXTS if kind in (_STRING, _STRINGS, _I18N) else ()):
            index[tag] = kind, offset, items
    tags: dict[int, Sequence[Any]] = {}
    for tag, (kind, offset, items) in index.items():
        if items > _MAX_ITEMS:
            raise ValueError("too many items")
        if kind == _INT32:
            tags[tag] = struct.unpack_from(f">{items}I", blob, base + offset)
        else:
            tags[tag] = _strings(blob, base + offset, items)
    return tags


def _strings(blob: bytes, at: int, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        end = blob.index(b"\0", at)
        found.append(blob[at:end])
        at = end + 1
    return found
