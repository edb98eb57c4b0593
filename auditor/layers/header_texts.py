"""Other texts of a layer's tar headers: owners, extended attributes, pax records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from auditor.codec.tar_headers import Header, normalise
from auditor.core.entries import EntryKind

_XATTR = "SCHILY.xattr."
_NUMBERS = frozenset(("size", "mtime", "atime", "ctime", "uid", "gid"))
_OWNERS = slice(265, 329)
_MAX_BYTES, _EACH = 32 << 20, 100
"""Approximate memory limit for the texts of a layer, and overhead of each text, in bytes."""


class HeaderTexts:
    """Texts without repeats, each with the first entry that has it; None for a header without an entry.

    `full` is set where texts were left out.
    """

    __slots__ = ("_memory", "_owners", "full", "texts")

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], int | None] = {}
        self.full = False
        self._memory = _MAX_BYTES
        self._owners: set[bytes] = set()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, int | None]], *, full: bool) -> Self:
        """Return the texts of `rows` of another object."""
        texts = cls()
        texts.texts = {(part, text): entry for part, text, entry in rows}
        texts.full = full
        return texts

    @property
    def rows(self) -> list[tuple[str, str, int | None]]:
        """Part of the header, text, and entry of each."""
        return [(part, text, entry) for (part, text), entry in self.texts.items()]

    def add(self, header: Header, entry: int | None, *, linked: bool) -> None:
        """Add the texts of one header. With `linked` the listing has the target of its link."""
        block = header.block
        if block[_OWNERS] not in self._owners and not self.full:
            self._owners.add(block[_OWNERS])
            self._add("uname", _text(block[265:297]), entry)
            self._add("gname", _text(block[297:329]), entry)
        field = _text(block[:100])
        if field.strip("./") not in header.path:
            self._add("header.name", field, entry)  # overridden by an extension header
        if header.kind in (EntryKind.SYMLINK, EntryKind.HARDLINK):
            if not linked:
                self._add("link", header.link, entry)
            link = _text(block[157:257])
            if link.strip("./") not in header.link:
                self._add("header.linkname", link, entry)
        if header.pax:
            for part, text in _records(header):
                self._add(part, text, entry)
        for key, text in header.comments.items():
            self._add(f"global[{key}]", f"{key}={text}", None)

    def append(self, other: HeaderTexts, first: int) -> None:
        """Add the texts of the entries behind; `first` is the number of their first one."""
        for (part, text), entry in other.texts.items():
            self._add(part, text, None if entry is None else first + entry)
        self.full |= other.full

    def _add(self, part: str, text: str, entry: int | None) -> None:
        if text and (part, text) not in self.texts:
            self._memory -= _EACH + len(part) + len(text)
            if self._memory < 0:
                self.full = True
                return
            self.texts[part, text] = entry


def _records(header: Header) -> Iterator[tuple[str, str]]:
    """Yield the pax records that are in no column of a listing: name of the part, and text to search."""
    for key, value in header.pax.items():
        if key in _NUMBERS or key.startswith("GNU.sparse."):
            continue
        if key in ("path", "linkpath"):
            if normalise(value) != header.path and value != header.link and normalise(value) != header.link:
                yield f"pax[{key}]", value
        elif key in ("uname", "gname"):
            yield key, value
        elif key.startswith(_XATTR):
            name = key.removeprefix(_XATTR)
            yield f"xattrs[{name}]", f"{name}={value}"
        else:
            yield f"pax[{key}]", f"{key}={value}"


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
