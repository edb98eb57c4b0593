"""A file's content that comes in several windows: held until it is whole, or handed on while it comes."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterable, Iterator

from auditor.extract.member_stream import MemberStream


class BufferedContent:
    """Pieces of a file, in order: to join them would need the memory twice. `size` is their length in bytes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: memoryview) -> None:
        """Take the next piece."""
        self._pieces.append(bytes(piece))
        self.size += len(piece)

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return self._pieces[0][:count] if self._pieces else b""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def whole(self) -> bytes:
        """Return all in one."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def body(self, *, streamed: bool) -> bytes | MemberStream:
        """Return the content, as a stream where that will do."""
        return self.source() if streamed else self.whole()

    def source(self) -> MemberStream:
        """Return a stream over the pieces."""
        return MemberStream(io.BufferedReader(_Reader(self._pieces), 1 << 16).read)


class StreamedContent:
    """Pieces of a file of `size` bytes, which another thread reads while they come. Few wait."""

    def __init__(self, head: bytes, size: int) -> None:
        self.size = size
        self._head = head
        self._pieces: queue.Queue[bytes] = queue.Queue(1)
        self._done = threading.Event()

    def add(self, piece: memoryview | bytes) -> None:
        """Hand the next piece on, as soon as there is room for it; an empty one is the end."""
        data = bytes(piece)
        while not self._done.is_set():
            try:
                self._pieces.put(data, timeout=0.1)
            except queue.Full:
                continue
            return

    def stop(self) -> None:
        """Want no more pieces."""
        self._done.set()

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return self._head[:count]

    def body(self, *, streamed: bool) -> MemberStream:
        """Return the content: always as a stream, for nothing else is piped."""
        assert streamed  # noqa: S101
        return self.source()

    def source(self) -> MemberStream:
        """Return a stream over the pieces; it waits for those that are still to come."""
        return MemberStream(io.BufferedReader(_Reader(iter(self._pieces.get, b"")), 1 << 16).read)


class _Reader(io.RawIOBase):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._rest = (memoryview(piece) for piece in pieces)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._piece:
            piece = next(self._rest, None)
            if piece is None:
                return 0
            self._piece = piece
        count = min(len(buffer), len(self._piece))
        buffer[:count], self._piece = self._piece[:count], self._piece[count:]
        return count
