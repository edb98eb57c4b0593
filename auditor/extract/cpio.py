"""cpio archives in the new ASCII format, as in an initrd. Source: cpio(5), "New ASCII Format"."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.extract.budget import ExtractContext
from auditor.extract.member_stream import Member, MemberStream

_HEADER = 110
_TRAILER = "TRAILER!!!"
_MAX_PATH = 4096


def read(source: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the regular files of a cpio archive."""
    while len(header := source.read(_HEADER)) == _HEADER:
        try:
            mode, size, name_size = int(header[14:22], 16), int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            mode = size = name_size = -1
        if header[:6] not in (b"070701", b"070702") or not 0 < name_size <= _MAX_PATH or size < 0:
            context.skip(None, "is a broken cpio archive, or of another format")
            return
        padded_name = source.read(name_size + -(_HEADER + name_size) % 4)
        name = padded_name[: name_size - 1].decode("utf-8", "surrogateescape")
        if name == _TRAILER:
            return
        yield from _file(source.part(size), name.removeprefix("./").lstrip("/"), mode, size, context)
        source.skip(-size % 4)


def _file(part: MemberStream, name: str, mode: int, size: int, context: ExtractContext) -> Iterator[Member]:
    """Yield a member that is a regular file with content, and read on to its end."""
    if mode & 0o170000 == 0o100000 and size:
        context.budget.member()
        if not context.exceeds_member_bytes(name, size):
            yield Member(name, part.read(size))
    part.skip(size)
