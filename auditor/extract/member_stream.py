"""Members of archives, and streams that are read once, front to back."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.codec.random_access import BytesAccess, FileAccess, RandomAccess
from auditor.core.errors import Damaged
from auditor.core.limits import limit_note
from auditor.extract.budget import BudgetExceeded, ExtractContext, is_transient

_STEP = 1 << 20
_BUFFER_STEP = 256 << 10
_IN_MEMORY = 4 << 20
"""Bytes of an archive in an archive that are kept in memory; a larger one is read from a temporary file."""


class MemberStream:
    """A stream with look-ahead. `read_some` returns at most as many bytes as asked for, none at the end.

    The bytes before damage, or before a limit, are returned first; the next read raises the error. A reader may take a
    short read for the end of the data and stop, so call `raise_error` when it has finished.
    """

    def __init__(self, read_some: Callable[[int], bytes]) -> None:
        self._read_some = read_some
        self._ahead = b""
        self._error: Exception | None = None

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end, without consuming them."""
        if len(self._ahead) < count:
            self._ahead = self._read(self._ahead, count)
        return self._ahead[:count]

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        return self._read(data, count) if len(data) < count else data

    def skip(self, count: int) -> None:
        """Read bytes and drop them."""
        while count > 0:
            data = self.read(min(count, _STEP))
            if not data:
                return
            count -= len(data)

    def raise_error(self) -> None:
        """Raise the error that ended this stream, if any."""
        if self._error is not None:
            raise self._error

    def part(self, size: int) -> MemberStream:
        """Return the next `size` bytes as a stream; this stream advances as that one is read."""
        left = size

        def read_some(count: int) -> bytes:
            nonlocal left
            data = self.read(min(count, left, _STEP))
            left -= len(data)
            return data

        return MemberStream(read_some)

    def _read(self, begun: bytes, count: int) -> bytes:
        """Return `begun` and the bytes that follow it, `count` in all."""
        pieces, left = [begun] if begun else [], count - len(begun)
        try:
            self.raise_error()
            while left > 0 and (data := self._read_some(left)):
                pieces.append(data)
                left -= len(data)
        except (Damaged, BudgetExceeded) as exc:
            self._error = exc
            if not pieces:
                raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Member(NamedTuple):
    """A member of an archive by its name. Without a name, the decoded content of the archive itself.

    Named tuples are made in a third of the time of frozen dataclasses, and an image may have a million members.
    """

    name: str | None
    body: bytes | MemberStream
    coding: str | None = None
    """The encoding that was removed: `gzip`."""
    search_text: bytes | None = None
    """The text to search in place of `body`: with a column's name, or decoded. It is not extracted further."""
    size: int | None = None
    """Bytes of a stream, where the archive says so."""


def as_stream(body: bytes | MemberStream) -> MemberStream:
    """Return a body as a stream."""
    return body if isinstance(body, MemberStream) else MemberStream(io.BytesIO(body).read)


def random_access(source: bytes | MemberStream, context: ExtractContext) -> RandomAccess:
    """Return bytes for reading at any offset: those of a stream up to damage, from a temporary file where it is long.

    Damage is noted, a temporary file that can't be written, and a stream beyond the limit `indexed-bytes`.
    """
    if isinstance(source, bytes):
        return BytesAccess(source)
    pieces, size, file, limit = list[bytes](), 0, None, context.limits.indexed_bytes
    try:
        while piece := source.read(_BUFFER_STEP):
            pieces.append(piece)
            size += len(piece)
            if size > _IN_MEMORY:
                file = file or SharedFile.temporary()
                for piece in pieces:
                    file.append(piece)
                pieces.clear()
            if size > limit:
                context.skip(None, f"goes on beyond {limit} bytes and is not opened {limit_note('indexed-bytes')}")
                return BytesAccess(b"")
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
    except OSError as exc:
        context.skip(None, f"can't be copied to a temporary file: {exc.strerror}", transient=True)
        return BytesAccess(b"")
    return FileAccess(FileSlice(file, 0, size)) if file else BytesAccess(b"".join(pieces))


def buffered(source: MemberStream, context: ExtractContext) -> bytes:
    """Return the bytes of a stream up to damage, or up to the limit `member-bytes`; note either."""
    pieces, size, limit = [], 0, context.limits.member_bytes
    try:
        while size <= limit and (piece := source.read(min(_BUFFER_STEP, limit + 1 - size))):
            pieces.append(piece)
            size += len(piece)
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
    if size > limit:
        context.skip(None, f"goes on beyond {limit} bytes; the rest was left out {limit_note('member-bytes')}")
    return b"".join(pieces)[:limit]
