"""Content of a file that spans several windows: buffered until it is complete, streamed to another thread, or in an
open file that is read at any offset."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterable, Iterator

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.codec.random_access import FileAccess
from auditor.extract.member_stream import MemberStream

_BLOCK = 256 << 10


class BufferedContent:
    """A complete file in memory."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()  # grows in place, and returns its content without a copy

    @property
    def size(self) -> int:
        """Bytes added so far."""
        return self._bytes.tell()

    @property
    def data(self) -> bytes:
        """All bytes, after the last one was added."""
        return self._bytes.getvalue()

    def add(self, piece: memoryview) -> None:
        """Append the next bytes."""
        self._bytes.write(piece)

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return bytes(self._bytes.getbuffer()[:count])

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes, as one block."""
        yield self.data

    def stream(self) -> MemberStream:
        """Return a stream over the bytes."""
        return MemberStream(io.BytesIO(self.data).read)


class StoredContent:
    """A file in an open file: that of a layer which is stored uncompressed, or of a piece of one."""

    def __init__(self, place: FileSlice) -> None:
        self._place = place

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._place.size

    def head(self, count: int) -> bytes:
        """Return the first bytes. Raises ImageError."""
        return self._place.read_at(0, count)

    def access(self) -> FileAccess:
        """Return the bytes for reading at any offset."""
        return FileAccess(self._place)

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in blocks. Raises ImageError."""
        for at in range(0, self.size, _BLOCK):
            yield self._place.read_at(at, _BLOCK)


class SpooledContent:
    """A file from a pipe, in a temporary file without a name: it is read at any offset. Methods raise OSError."""

    def __init__(self) -> None:
        self._file = SharedFile.temporary()

    def add(self, piece: memoryview) -> None:
        """Append the next bytes."""
        self._file.append(piece)

    def stored(self) -> StoredContent:
        """Return the content, after the last byte."""
        return StoredContent(FileSlice(self._file, 0, self._file.size))


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
