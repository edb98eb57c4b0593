"""A long stream as overlapping windows, filled ahead by a thread."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

WINDOW = 2 << 20
AHEAD = 40 << 10
"""Bytes that stand after everything a window owns, so that a match may go on beyond it."""
OVERLAP = AHEAD + (8 << 10)
"""Bytes of the window before, repeated: what goes ahead, and as much context before what is owned."""
_READY = 2


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of a stream: `buffer[:size]`, of which `buffer[0]` stands at `start` and the new ones begin at `fresh`.

    It owns the places [owned_from, owned_to) of the stream: each place belongs to exactly one window.
    """

    buffer: bytearray
    size: int
    start: int
    fresh: int
    last: bool

    @property
    def view(self) -> memoryview:
        """All bytes at hand."""
        return memoryview(self.buffer)[: self.size]

    @property
    def fresh_view(self) -> memoryview:
        """The bytes that no window before held."""
        return memoryview(self.buffer)[self.fresh - self.start : self.size]

    @property
    def end(self) -> int:
        """The place after the last byte."""
        return self.start + self.size

    @property
    def owned_from(self) -> int:
        """First place owned."""
        return max(self.fresh - AHEAD, 0)

    @property
    def owned_to(self) -> int:
        """First place of the next window."""
        return self.end + 1 if self.last else max(self.end - AHEAD, 0)


class WindowReader:
    """Iterates over a stream's windows. A thread reads ahead; `release` gives a buffer back to it."""

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
        """Give back a window whose views are no longer used."""
        self._free.append(window.buffer)
        self._slots.release()

    def close(self) -> None:
        """Stop reading, so that the stream can be closed; a read that hangs is not waited for."""
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
            got: int = self._stream.readinto(view[size:limit])  # type: ignore[attr-defined]
            if not got:
                return Window(buffer, size, fresh - len(tail), fresh, last=True)
            size += got
        return Window(buffer, size, fresh - len(tail), fresh, last=False)
