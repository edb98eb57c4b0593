"""Content of a file that spans several windows: buffered until it is complete, or streamed to another thread."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterable, Iterator

from auditor.extract.member_stream import MemberStream


class BufferedContent:
    """A complete file in memory, as pieces in order: joining them takes the memory twice. `size` is in bytes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: memoryview) -> None:
        """Append the next piece."""
        self._pieces.append(bytes(piece))
        self.size += len(piece)

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return self._pieces[0][:count] if self._pieces else b""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def joined(self) -> bytes:
        """Return all bytes."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def stream(self) -> MemberStream:
        """Return a stream over the pieces."""
        return MemberStream(io.BufferedReader(_PieceReader(self._pieces), 1 << 16).read)


class StreamedContent:
    """A file of `size` bytes that one thread adds to while another reads it. At most one piece waits."""

    def __init__(self, head: bytes, size: int) -> None:
        self.size = size
        self._head = head
        self._pieces: queue.Queue[bytes] = queue.Queue(1)
        self._stopped = threading.Event()

    def add(self, piece: memoryview | bytes) -> None:
        """Append the next piece; blocks while another one waits. An empty piece marks the end."""
        data = bytes(piece)
        while not self._stopped.is_set():
            try:
                self._pieces.put(data, timeout=0.1)
            except queue.Full:
                continue
            return

    def stop(self) -> None:
        """Discard all further pieces: the reader has finished."""
        self._stopped.set()

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return self._head[:count]

    def stream(self) -> MemberStream:
        """Return a stream over the pieces; its reads block until the next piece arrives."""
        return MemberStream(io.BufferedReader(_PieceReader(iter(self._pieces.get, b"")), 1 << 16).read)


class _PieceReader(io.RawIOBase):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = (memoryview(piece) for piece in pieces)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = piece
        count = min(len(buffer), len(self._piece))
        buffer[:count], self._piece = self._piece[:count], self._piece[count:]
        return count
