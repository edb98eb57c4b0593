"""Tar entries written field by field, so that a test chooses every header that an engine reads.

Sources: POSIX pax (ustar), GNU tar manual "Tar Internals", star(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """One header with its body. `form` is v7, ustar, gnu or star; `before` are extension headers as bytes."""

    name: bytes
    type: bytes = b"0"
    data: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_700_000_000
    device: tuple[int, int] = (0, 0)
    form: str = "ustar"
    prefix: bytes = b""
    pax: Mapping[str, str] = field(default_factory=dict)
    before: bytes = b""

    def encoded(self) -> bytes:
        """Return the bytes of the entry: extensions, header, body, padding."""
        extensions = self.before + (pax(self.pax) if self.pax else b"")
        return extensions + header(self) + padded(self.data)


def padded(data: bytes) -> bytes:
    """Fill up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def header(entry: Entry, size: int | None = None) -> bytes:
    """Return the 512 bytes of a header with its checksum."""
    block = bytearray(BLOCK)
    block[0:100] = entry.name[:100].ljust(100, b"\0")
    length = len(entry.data) if size is None else size
    block[100:148] = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (entry.mode, entry.uid, entry.gid, length, entry.mtime)
    block[156:157] = entry.type
    block[157:257] = entry.link[:100].ljust(100, b"\0")
    if entry.form != "v7":
        block[257:265] = b"ustar  \0" if entry.form == "gnu" else b"ustar\x0000"
        block[329:345] = b"%07o\0%07o\0" % entry.device
    if entry.form in ("ustar", "star"):
        block[345 : 345 + len(entry.prefix)] = entry.prefix
    if entry.form == "star":
        block[476:500] = b"%011o %011o " % (entry.mtime, entry.mtime)
        block[508:512] = b"tar\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: Mapping[str, str], kind: bytes = b"x") -> bytes:
    """Return a pax header (`g` for a global one) with its records."""
    body = b"".join(record(key, value) for key, value in records.items())
    return header(Entry(b"PaxHeaders/x", kind), len(body)) + padded(body)


def record(key: str, value: str) -> bytes:
    """Return one pax record, `LENGTH KEY=VALUE` and a line end."""
    rest = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def gnu_long(text: bytes, kind: bytes = b"L") -> bytes:
    """Return a GNU long name (`L`) or long link (`K`) header."""
    body = text + b"\0"
    return header(Entry(b"././@LongLink", kind, form="gnu"), len(body)) + padded(body)


def tar(*entries: Entry | bytes) -> bytes:
    """Return a whole tar, its end included; bytes stand as they are."""
    return b"".join(e if isinstance(e, bytes) else e.encoded() for e in entries) + bytes(2 * BLOCK)
