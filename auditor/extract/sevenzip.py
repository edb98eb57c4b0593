"""7z archives, by py7zr, which hands over members rather than being asked for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from auditor.core.limits import named
from auditor.extract.budget import BudgetExceeded, ExtractContext, is_transient
from auditor.extract.member_stream import Member, MemberStream, as_stream

_KEPT = 2
"""Times `member_bytes` that the members of one archive may take in memory together: they come all at once."""
_MAX_HEADER = 16 << 20


class _Full(Exception):
    pass


def archive(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield the files of a 7z archive."""
    data = body if isinstance(body, bytes) else as_stream(body).read(context.limits.member_bytes)
    keeper = _Keeper(context)
    problem: Exception | None = None
    try:
        _extract(data, context, keeper)
    except Exception as exc:  # py7zr lets errors of a dozen decompressors through; what came before them is good
        problem = exc
    for name, member in keeper.members():
        yield Member(name, member)
    if isinstance(problem, BudgetExceeded):
        raise problem
    if isinstance(problem, _Full):
        most = _KEPT * context.limits.member_bytes
        context.skip(None, f"more than {most} bytes in a 7z archive; the rest was left out {named('member-bytes')}")
    elif isinstance(problem, MemoryError):
        raise problem
    elif problem is not None:
        reason = f"is a broken 7z archive: {type(problem).__name__}: {problem}"
        context.skip(None, reason, transient=is_transient(problem))


def _extract(data: bytes, context: ExtractContext, keeper: _Keeper) -> None:
    import py7zr
    import py7zr.archiveinfo

    # Its own limits let a header of a few kilobytes take gigabytes; it has no other way to set them.
    py7zr.archiveinfo.MAX_HEADER_SIZE = _MAX_HEADER
    py7zr.archiveinfo.MAX_NUMFILES = py7zr.archiveinfo.MAX_SUBSTREAMS = 10 * context.limits.members
    try:
        with py7zr.SevenZipFile(io.BytesIO(data), max_extract_size=context.limits.unpacked_bytes) as opened:
            if opened.needs_password():
                context.skip(None, "is encrypted")
                return
            opened.extractall(factory=cast(Any, keeper))
    except py7zr.PasswordRequired:
        context.skip(None, "is encrypted")


class _Writer(Protocol):
    def write(self, data: bytes) -> int: ...


class _Keeper:
    """Takes members from py7zr, as its WriterFactory."""

    def __init__(self, context: ExtractContext) -> None:
        self._context = context
        self._members: list[_Member] = []
        self._size = 0
        self._here = Path.cwd()

    def create(self, filename: str) -> _Writer:
        self._context.budget.member()
        path = Path(filename)
        name = path.relative_to(self._here) if path.is_relative_to(self._here) else path
        self._members.append(_Member(self, str(name)))
        return self._members[-1]

    def take(self, member: _Member, data: bytes) -> None:
        """Keep some bytes of a member, unless it grows too large."""
        self._context.budget.spend(len(data))
        member.size += len(data)
        if member.size > self._context.limits.member_bytes:
            self._size -= sum(map(len, member.pieces))
            member.pieces.clear()
            return
        self._size += len(data)
        if self._size > _KEPT * self._context.limits.member_bytes:
            raise _Full
        member.pieces.append(bytes(data))

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Yield whole members; each is let go when the next is asked for."""
        while self._members:
            member = self._members.pop(0)
            if self._context.exceeds_member_bytes(member.name, member.size) or not member.pieces:
                continue
            yield member.name, b"".join(member.pieces)


class _Member:
    """One member, as a Py7zIO of py7zr."""

    def __init__(self, keeper: _Keeper, name: str) -> None:
        self._keeper, self.name = keeper, name
        self.pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._keeper.take(self, data)
        return len(data)

    def read(self, _: int | None = None) -> bytes:
        return b""

    def seek(self, _offset: int, _whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
