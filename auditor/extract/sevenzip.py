"""7z archives, by py7zr, which pushes members to a writer.

Only the isolated process imports py7zr: it takes 100 ms, and its limits are globals of a module.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from auditor.core.limits import limit_note
from auditor.extract.budget import BudgetExceeded, ExtractContext, is_transient
from auditor.extract.member_stream import Member

_BUFFERED = 2
"""Bytes of all members of an archive in memory, as a multiple of `member_bytes`: py7zr extracts them at once."""
_MAX_HEADER = 16 << 20


class _Full(Exception):
    pass


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the files of a 7z archive."""
    collector = _Collector(context)
    problem: Exception | None = None
    try:
        _extract(data, context, collector)
    except Exception as exc:  # py7zr passes on the errors of a dozen decompressors; members before them are whole
        problem = exc
    for name, member in collector.members():
        yield Member(name, member)
    if isinstance(problem, BudgetExceeded):
        raise problem
    if isinstance(problem, _Full):
        most = _BUFFERED * context.limits.member_bytes
        context.skip(
            None, f"more than {most} bytes in a 7z archive; the rest was left out {limit_note('member-bytes')}"
        )
    elif isinstance(problem, MemoryError):
        raise problem
    elif problem is not None:
        reason = f"is a broken 7z archive: {type(problem).__name__}: {problem}"
        context.skip(None, reason, transient=is_transient(problem))


def _extract(data: bytes, context: ExtractContext, collector: _Collector) -> None:
    # Only in the isolated process: see above.
    import py7zr
    import py7zr.archiveinfo

    # By its default limits a header of a few kilobytes may take gigabytes; it has no other way to set them.
    py7zr.archiveinfo.MAX_HEADER_SIZE = _MAX_HEADER
    py7zr.archiveinfo.MAX_NUMFILES = py7zr.archiveinfo.MAX_SUBSTREAMS = 3 * context.limits.members
    try:
        with py7zr.SevenZipFile(io.BytesIO(data), max_extract_size=context.limits.reader_memory) as opened:
            if opened.needs_password():
                context.skip(None, "is encrypted")
                return
            opened.extractall(factory=cast(Any, collector))
    except py7zr.PasswordRequired:
        context.skip(None, "is encrypted")


class _Writer(Protocol):
    def write(self, data: bytes) -> int: ...


class _Collector:
    """Members of an archive: a WriterFactory of py7zr."""

    def __init__(self, context: ExtractContext) -> None:
        self._context = context
        self._members: list[_MemberWriter] = []
        self._size = 0
        self._here = Path.cwd()

    def create(self, filename: str) -> _Writer:
        self._context.budget.member()
        path = Path(filename)
        name = path.relative_to(self._here) if path.is_relative_to(self._here) else path
        self._members.append(_MemberWriter(self, str(name)))
        return self._members[-1]

    def add(self, member: _MemberWriter, data: bytes) -> None:
        """Append bytes to a member. One that exceeds `member_bytes` is dropped. Raises _Full."""
        self._context.budget.spend(len(data))
        member.size += len(data)
        if member.size > self._context.limits.member_bytes:
            self._size -= sum(map(len, member.pieces))
            member.pieces.clear()
            return
        self._size += len(data)
        if self._size > _BUFFERED * self._context.limits.member_bytes:
            raise _Full
        member.pieces.append(bytes(data))

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Yield the members that are complete, and free each before the next."""
        while self._members:
            member = self._members.pop(0)
            if self._context.exceeds_member_bytes(member.name, member.size) or not member.pieces:
                continue
            yield member.name, b"".join(member.pieces)


class _MemberWriter:
    """Writer of one member: a Py7zIO of py7zr."""

    def __init__(self, collector: _Collector, name: str) -> None:
        self._collector, self.name = collector, name
        self.pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._collector.add(self, data)
        return len(data)

    def read(self, _: int | None = None) -> bytes:
        return b""

    def seek(self, _offset: int, _whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
