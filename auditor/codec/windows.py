"""Overlapping windows of a long stream. Windows overlap, so no match is split."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

WINDOW = 2 << 20
"""New bytes of one window."""
AHEAD = 40 << 10
"""Bytes at the end of a window that the next window owns: a match that begins before them may end in them."""
OVERLAP = AHEAD + (8 << 10)
"""Bytes repeated from the window before: those that it does not own, and context in front of them."""
_READY = 2


@dataclass(frozen=True, slots=True)
class Window:
    """The bytes `buffer[:size]` of a stream. `buffer[0]` is at offset `start`; bytes from offset `fresh` on are new.

    Each offset of the stream belongs to exactly one window, which reports the matches that end there.
    """

    buffer: bytes | bytearray
    size: int
    start: int
    fresh: int
    last: bool

    @property
    def view(self) -> memoryview:
        """All bytes, without a copy."""
        return memoryview(self.buffer)[: self.size]

    @property
    def fresh_view(self) -> memoryview:
        """The bytes that are in no earlier window, without a copy."""
        return memoryview(self.buffer)[self.fresh - self.start : self.size]

    @property
    def end(self) -> int:
        """Stream offset behind the last byte."""
        return self.start + self.size

    @property
    def owned_from(self) -> int:
        """First stream offset that belongs to this window."""
        return max(self.fresh - AHEAD, 0)

    @property
    def owned_to(self) -> int:
        """First stream offset that belongs to the next window."""
        return self.end + 1 if self.last else max(self.end - AHEAD, 0)


class WindowReader:
    """Iterator over a stream's windows. A thread reads ahead; `release` returns a window's buffer to it."""

    def __init__(self, stream: BinaryIO, in_flight: int) -> None:
        self._stream = stream
        self._filled: queue.Queue[Window | BaseException] = queue.Queue(_READY)
        self._slots = threading.Semaphore(in_flight)
        self._free: list[bytearray] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._fill, name="read", daemon=True)

    def __iter__(self) -> Iterator[Window]:
        self._thread.start()
        while True:
            item = self._filled.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if item.last:
                return

    def release(self, window: Window) -> None:
        """Reuse the buffer of a window. Its views must not be read after that."""
        if isinstance(window.buffer, bytearray):
            self._free.append(window.buffer)
        self._slots.release()

    def close(self) -> None:
        """Stop reading, so that the stream can be closed. Waits two seconds at most for a read that hangs."""
        self._stopped = True
        self._slots.release()
        for _ in range(40):
            if not self._thread.is_alive():
                return
            with contextlib.suppress(queue.Empty):
                self._filled.get_nowait()
            self._thread.join(0.05)

    def _fill(self) -> None:
        try:
            tail, fresh = b"", 0
            while not self._stopped:
                self._slots.acquire()
                window = self._read(tail, fresh)
                self._filled.put(window)
                if window.last:
                    return
                tail, fresh = bytes(window.view[-OVERLAP:]), window.end
        except BaseException as exc:
            self._filled.put(exc)

    def _read(self, tail: bytes, fresh: int) -> Window:
        buffer = self._free.pop() if self._free else bytearray(OVERLAP + WINDOW)
        buffer[: len(tail)] = tail
        size, view = len(tail), memoryview(buffer)
        limit = len(tail) + WINDOW
        while size < limit:
            count: int = self._stream.readinto(view[size:limit])  # type: ignore[attr-defined]
            if not count:
                return Window(buffer, size, fresh - len(tail), fresh, last=True)
            size += count
        return Window(buffer, size, fresh - len(tail), fresh, last=False)
