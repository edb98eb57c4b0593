"""Zstandard frames of a stream, decoded in parallel.

A layer in the form zstd:chunked, or one that pzstd wrote, has many frames, and each can be decoded without those before
it. The sizes of its blocks tell where a frame ends: RFC 8878, 3.1.1. A frame that is large, or does not tell the size
of its content, is decoded as a stream, with all that follows.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, cast

import zstandard

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_MAX_HEADER = 18
_RLE, _RESERVED = 1, 3
_INPUT_STEP = 64 << 10
_LARGE = 4 << 20
"""Bytes of a frame, and of its content, beyond which it is decoded as a stream."""
_BLOCKS = 1024
"""Blocks of a frame beyond which it is decoded as a stream. Usual blocks have 128 KB of content."""
_TOGETHER = 1 << 20
"""Bytes of content up to which frames are decoded in one task."""


def frame_stream(take: Callable[[int], bytes], memory: int) -> BinaryIO:
    """Return the content of consecutive frames that `take` reads, decoded one after another."""
    decoder = zstandard.ZstdDecompressor(max_window_size=memory)
    frames = decoder.stream_reader(cast(BinaryIO, _Source(take)), read_across_frames=True, closefd=False)
    return cast(BinaryIO, frames)


class ZstdFrames:
    """Content of consecutive frames that `take` reads; it returns no bytes at the end.

    `threads` tasks decode at a time, with windows of at most `memory` bytes.
    """

    def __init__(self, take: Callable[[int], bytes], memory: int, threads: int) -> None:
        self._take, self._memory, self._threads = take, memory, threads
        self._input = bytearray()
        self._waiting = deque[Future[bytes]]()
        self._ready = memoryview(b"")
        self._pool: ThreadPoolExecutor | None = None
        self._stream: BinaryIO | None = None

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes, none at the end. Raises ZstdError."""
        while not self._ready:
            while self._stream is None and len(self._waiting) <= self._threads:
                self._submit(list(self._small_frames()))
            if self._waiting:
                self._ready = memoryview(self._waiting.popleft().result())
            elif self._stream is not None:
                return self._stream.read(count)
        data, self._ready = bytes(self._ready[:count]), self._ready[count:]
        return data

    def _submit(self, frames: Sequence[bytes]) -> None:
        if frames:
            self._pool = self._pool or ThreadPoolExecutor(self._threads, "zstd")
            self._waiting.append(self._pool.submit(_decoded, frames, self._memory))

    def _small_frames(self) -> Iterator[bytes]:
        """Yield frames for one task; begin the stream with one that is not small."""
        size = 0
        while size < _TOGETHER:
            end = self._end_of_frame()
            frame = bytes(self._input[: end or 0])
            content = _content_size(frame)
            if content is None:
                begin, self._input = bytes(self._input), bytearray()
                self._stream = frame_stream(_Chained(begin, self._take).read, self._memory)
                return
            del self._input[:end]
            if frame.startswith(_MAGIC):
                size += content
                yield frame

    def _end_of_frame(self) -> int | None:
        """Read on until the input holds a whole frame, and return its end; None where that is too far."""
        while (end := frame_size(self._input)) is None and len(self._input) < _LARGE:
            more = self._take(_INPUT_STEP)
            if not more:
                break
            self._input += more
        return end


def _content_size(frame: bytes) -> int | None:
    """Return the bytes of content that a frame declares; None for one that is not small."""
    if not frame or len(frame) > _LARGE:
        return None
    if not frame.startswith(_MAGIC):
        return 0
    content: int = zstandard.get_frame_parameters(frame[:_MAX_HEADER]).content_size
    return content if 0 < content <= _LARGE else None


def _decoded(frames: Sequence[bytes], memory: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=memory)
    return b"".join([decoder.decompress(frame) for frame in frames])


def frame_size(data: bytes | bytearray) -> int | None:
    """Return the bytes of the frame at the beginning of `data`; None where it is incomplete, broken or no frame."""
    try:
        if data[:4] != _MAGIC:
            magic, size = struct.unpack_from("<II", data)
            return 8 + size if magic in _SKIPPABLE and 8 + size <= len(data) else None
        has_checksum = data[4] & 4
        at = zstandard.frame_header_size(bytes(data[:_MAX_HEADER]))
        for _ in range(_BLOCKS):
            block = int.from_bytes(data[at : at + 3], "little")
            is_last, kind, size = block & 1, block >> 1 & 3, block >> 3
            if kind == _RESERVED:
                return None
            at += 3 + (1 if kind == _RLE else size)
            if is_last or at > len(data):
                break
        else:
            return None
    except (struct.error, IndexError, zstandard.ZstdError):
        return None
    at += 4 if has_checksum else 0
    return at if at <= len(data) else None


class _Source:
    """Input of a decoder."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


class _Chained:
    """Bytes that were read already, and those that follow."""

    def __init__(self, first: bytes, take: Callable[[int], bytes]) -> None:
        self._first, self._take = first, take

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes."""
        if not self._first:
            return self._take(count)
        data, self._first = self._first[:count], self._first[count:]
        return data
