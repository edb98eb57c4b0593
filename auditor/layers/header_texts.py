"""Texts of a layer's tar headers besides paths and the targets of links: owners, extended attributes, pax records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from auditor.codec.tar_headers import Header, normalise
from auditor.core.entries import EntryKind

_XATTR = "SCHILY.xattr."
_NUMBERS = frozenset(("size", "mtime", "atime", "ctime", "uid", "gid"))
_OWNERS = slice(265, 329)
_MAX_BYTES, _EACH = 32 << 20, 100
"""Bytes of memory, about, that such texts of a layer may take, and what one takes besides its characters."""


class HeaderTexts:
    """Collects each text once, with the first entry whose header holds it; `None` for a header that makes no entry.

    `full` tells that there were more than are kept.
    """

    __slots__ = ("_owners", "_room", "full", "texts")

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], int | None] = {}
        self.full = False
        self._room = _MAX_BYTES
        self._owners: set[bytes] = set()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, int | None]], *, full: bool) -> Self:
        """Return what `rows` gives of another."""
        made = cls()
        made.texts = {(part, text): entry for part, text, entry in rows}
        made.full = full
        return made

    @property
    def rows(self) -> list[tuple[str, str, int | None]]:
        """Part, text and entry of each."""
        return [(part, text, entry) for (part, text), entry in self.texts.items()]

    def note(self, header: Header, entry: int | None, *, linked: bool) -> None:
        """Note the texts of one header. `linked` tells that the listing holds the target of its link."""
        block = header.block
        if block[_OWNERS] not in self._owners and not self.full:
            self._owners.add(block[_OWNERS])
            self._add("uname", _text(block[265:297]), entry)
            self._add("gname", _text(block[297:329]), entry)
        own = _text(block[:100])
        if own.strip("./") not in header.path:
            self._add("header.name", own, entry)  # which another header overrides
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

    def _add(self, part: str, text: str, entry: int | None) -> None:
        if text and (part, text) not in self.texts:
            self._room -= _EACH + len(part) + len(text)
            if self._room < 0:
                self.full = True
                return
            self.texts[part, text] = entry


def _records(header: Header) -> Iterator[tuple[str, str]]:
    """Yield the pax records that no other column of a listing holds: where, and what is searched."""
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
