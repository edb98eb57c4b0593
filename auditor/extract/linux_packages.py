"""Packages: deb (ar, holding tars), rpm (headers, then a compressed cpio), and cpio itself, as in an initrd.

Both formats are a few fixed headers; the libraries for them read a whole payload into memory.
Sources: deb(5), "RPM package format" of the rpm manual, cpio(5) "New ASCII Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from auditor.core.errors import Damaged
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.compressed import inflated
from auditor.extract.member_stream import Member, MemberStream, as_stream

_AR_HEADER = 60
_CPIO_HEADER = 110
_TRAILER = "TRAILER!!!"
_MAX_PATH = 4096


def deb(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield the members of an ar: `control.tar.*` and `data.tar.*` are tars, compressed."""
    source = as_stream(body)
    source.skip(8)
    while len(header := source.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("latin-1").rstrip(" /")
        digits = header[48:58].strip()
        if not digits.isdigit() or header[58:] != b"`\n":
            context.skip(None, "is a broken ar archive")
            return
        context.budget.member()
        size = int(digits)
        part = source.part(size)
        yield Member(name, part if ".tar" in name else part.read(context.limits.member_bytes))
        part.skip(size)
        source.skip(size & 1)


def rpm(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield the files of an rpm's payload."""
    source = as_stream(body)
    source.skip(96)
    for alignment in (8, 1):  # the signature's header is padded, the main one is not
        intro = source.read(16)
        if len(intro) < 16 or intro[:3] != b"\x8e\xad\xe8":
            context.skip(None, "is a broken rpm package")
            return
        count, size = struct.unpack(">II", intro[8:])
        length = 16 * count + size
        source.skip(length + -length % alignment)
    try:
        yield from cpio(inflated(source, context), context, "cpio")
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))


def cpio(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield the files of a cpio archive in the new ASCII format."""
    source = as_stream(body)
    while len(header := source.read(_CPIO_HEADER)) == _CPIO_HEADER:
        try:
            mode, size, named = int(header[14:22], 16), int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            mode = size = named = -1
        if header[:6] not in (b"070701", b"070702") or not 0 < named <= _MAX_PATH or size < 0:
            context.skip(None, "is a broken cpio archive, or of another format")
            return
        name = source.read(named + -(_CPIO_HEADER + named) % 4)[: named - 1].decode("utf-8", "surrogateescape")
        if name == _TRAILER:
            return
        yield from _file(source.part(size), name, mode, size, context)
        source.skip(-size % 4)


def _file(part: MemberStream, name: str, mode: int, size: int, context: ExtractContext) -> Iterator[Member]:
    """Yield a cpio member that is a plain file with bytes, and pass over it."""
    name = name.removeprefix("./").lstrip("/")
    if mode & 0o170000 == 0o100000 and size:
        context.budget.member()
        if not context.exceeds_member_bytes(name, size):
            yield Member(name, part.read(size))
    part.skip(size)
