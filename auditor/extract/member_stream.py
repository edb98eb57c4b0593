"""Bytes that are read once, front to back: of a member in memory, or out of a decompressor."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

_STEP = 1 << 20


class MemberStream:
    """A stream with a look ahead. `read_some` returns at most as many bytes as asked, none at the end."""

    def __init__(self, read_some: Callable[[int], bytes]) -> None:
        self._read_some = read_some
        self._ahead = b""

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end, and leave them there."""
        if len(self._ahead) < count:
            self._ahead += self._read(count - len(self._ahead))
        return self._ahead[:count]

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        got, self._ahead = self._ahead[:count], self._ahead[count:]
        return got + self._read(count - len(got)) if len(got) < count else got

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        while count > 0:
            got = self.read(min(count, _STEP))
            if not got:
                return
            count -= len(got)

    def part(self, size: int) -> MemberStream:
        """Return the next `size` bytes as a stream of their own; they count as read when it reads them."""
        left = size

        def some(count: int) -> bytes:
            nonlocal left
            got = self.read(min(count, left, _STEP))
            left -= len(got)
            return got

        return MemberStream(some)

    def _read(self, count: int) -> bytes:
        pieces = []
        while count > 0:
            got = self._read_some(count)
            if not got:
                break
            pieces.append(got)
            count -= len(got)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Member:
    """What a reader finds in a container: a member by name, or with None the content itself, decoded."""

    name: str | None
    body: bytes | MemberStream
    coding: str | None = None
    shown: bytes | None = None
    """What the rules shall see of a member, where more than its bytes helps them."""


def as_stream(body: bytes | MemberStream) -> MemberStream:
    """Return a member as a stream."""
    return body if isinstance(body, MemberStream) else MemberStream(io.BytesIO(body).read)


class RawMemberStream(io.RawIOBase):
    """A source as Python's decompressors want it."""

    def __init__(self, source: MemberStream) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self._source.read(len(buffer))
        buffer[: len(got)] = got
        return len(got)
