"""Decompression of streams: gzip, zstd, xz, bzip2. Magic bytes decide, because media types are often wrong."""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from auditor.codec.signatures import magics_of
from auditor.codec.zstd_frames import ZstdFrames, frame_stream
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note
from auditor.core.process import usable_cores

try:
    from isal import isal_zlib as _deflate
except ImportError:  # no wheel for this platform
    import zlib as _deflate  # type: ignore[no-redef]

InflateError = cast(type[Exception], _deflate.error)
"""Error of the decoders of `inflater`."""

_ERRORS = (OSError, EOFError, InflateError, lzma.LZMAError, zstandard.ZstdError)
_COMPRESSIONS = ("gzip", "zstd", "xz", "bzip2")
_MAGICS = tuple((magic, name) for name in _COMPRESSIONS for magic in magics_of(name))
_INPUT_STEP = 64 << 10
_OUTPUT_STEP = 256 << 10
"""Bytes that are decompressed at a time; a larger block would be memory that the system provides anew each time."""
_MAX_THREADS, _IN_THREADS = 4, ("zstd",)
_GZIP_FORMAT, _RAW_FORMAT = 31, -15
"""The numbers of zlib for a header and a checksum of gzip, and for none, with a window of 32 KB."""


def compression_of(head: bytes) -> str | None:
    """Return the compression of a stream by its first 8 bytes; None where it is not compressed."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


def decompressed(stream: io.BufferedReader[Any], limits: Limits, label: str = "") -> BinaryIO:
    """Return the decompressed bytes of `stream`, or the stream itself where it is not compressed.

    Several gzip members are one stream, and so are several zstd frames, skippable ones included. Reading the result
    raises Damaged on broken data and beyond the limits of growth; its message begins with `label`.
    """
    kind = compression_of(stream.peek(8)[:8])
    if kind is None:
        return cast(BinaryIO, stream)
    threads = min(usable_cores(), _MAX_THREADS) if kind in _IN_THREADS else 1
    source = Decompressor(kind, stream.read, limits, label, threads)
    return io.BufferedReader(_RawOutput(source), 1 << 16)


def inflater(wbits: int) -> Any:
    """Return a decoder of deflated data with the interface of `zlib.decompressobj`, of the fastest library."""
    return _deflate.decompressobj(wbits)


class Decompressor:
    """Decompressed bytes of a stream that `read_input` reads, by the name of its compression.

    That is one that `compression_of` returns, or `deflate` for deflated data without a header.

    `read` returns at most as many bytes as asked for, and none at the end. It raises Damaged on broken data and beyond
    the limits of growth. The files of the standard library copy each byte several times, and have no limit of memory.
    """

    def __init__(
        self, kind: str, read_input: Callable[[int], bytes], limits: Limits, label: str = "", threads: int = 1
    ) -> None:
        """`threads` decode at a time where the compression allows it."""
        self._name, self._limits = f"{label}: {kind} data" if label else f"{kind} data", limits
        self._input = _CountedInput(read_input)
        self._total, self._free = 0, min(limits.layer_growth_free, limits.layer_bytes)
        self._read_some = _reader(kind, self._input, limits, threads)  # no cycle: a decoder may hold megabytes

    def read(self, count: int) -> bytes:
        """Return the next bytes."""
        try:
            data = self._read_some(count)
        except _ERRORS as exc:
            raise self._broken(exc) from exc
        self._total += len(data)
        if self._total > self._free:
            self._check_growth(self._total, max(self._input.size, 1))
        return data

    def _broken(self, exc: Exception) -> Damaged:
        limit = f" {limit_note('decoder-memory')}" if "memory" in str(exc).lower() else ""
        return Damaged(f"{self._name} is broken after {self._total} bytes: {exc}{limit}")

    def _check_growth(self, total: int, taken: int) -> None:
        """Raise Damaged beyond the limits of growth. They start at a size that a file of zeros may reach."""
        limits = self._limits
        if total > limits.layer_bytes:
            raise Damaged(f"{self._name} has more than {limits.layer_bytes} bytes {limit_note('layer-bytes')}")
        large = total > 4 * limits.layer_growth_free
        # Deflate can't exceed 1032:1; xz, bzip2 and zstd can.
        most, name = limits.layer_growth, "layer-growth"
        if large and limits.layer_growth_large < most:
            most, name = limits.layer_growth_large, "layer-growth-large"
        if limits.layer_growth_free < total > most * taken:
            raise Damaged(f"{self._name} grows beyond {total} bytes out of {taken} {limit_note(name)}")


class _Member(Protocol):
    """Decoder of one member: a gzip member, an xz or bzip2 stream. As in `lzma` and `bz2`."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Deflated:
    """Decoder of a gzip member, or of deflated data, with the attributes that those of `lzma` and `bz2` have."""

    def __init__(self, wbits: int) -> None:
        self._decoder = inflater(wbits)

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length))


class _Members:
    """Content of consecutive members, with zeros between them. An error of type `ignored` after one is its end."""

    def __init__(
        self, new: Callable[[], _Member], take: Callable[[int], bytes], ignored: type[Exception] | None = None
    ) -> None:
        self._new, self._take, self._ignored = new, take, ignored
        self._decoder = new()
        self._ended = False

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes, none at the end."""
        while not self._ended:
            if self._decoder.eof:
                data = self._begin_next(count)
            elif not self._decoder.needs_input:
                data = self._decoder.decompress(b"", count)
            else:
                following = self._take(_INPUT_STEP)
                data = self._decoder.decompress(following, count)
                if not following and not data and not self._decoder.eof:
                    raise EOFError("it ends within the stream")
            if data:
                return data
        return b""

    def _begin_next(self, count: int) -> bytes:
        """Start the next member, if there is one, and return its first bytes."""
        following = self._decoder.unused_data.lstrip(b"\0")
        while not following and (more := self._take(_INPUT_STEP)):
            following = more.lstrip(b"\0")  # padding: xz file format, 2.2
        if not following:
            self._ended = True
            return b""
        self._decoder = self._new()
        try:
            return self._decoder.decompress(following, count)
        except Exception as exc:
            if self._ignored is None or not isinstance(exc, self._ignored):
                raise
            self._ended = True
            return b""


class _CountedInput:
    """Input of a decoder, and the number of bytes read: a pipe has no position."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.size = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes."""
        data = self._read(count)
        self.size += len(data)
        return data


def _reader(kind: str, source: _CountedInput, limits: Limits, threads: int) -> Callable[[int], bytes]:
    """Return the function that reads at most so many decompressed bytes, none at the end."""
    memory = limits.decoder_memory
    match kind:
        case "gzip":
            return _Members(lambda: _Deflated(_GZIP_FORMAT), source.read).read
        case "deflate":
            return _Members(lambda: _Deflated(_RAW_FORMAT), source.read).read
        case "xz":
            return _Members(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), source.read).read
        case "bzip2":
            return _Members(bz2.BZ2Decompressor, source.read, ignored=OSError).read
        case _:
            return (ZstdFrames(source.read, memory, threads) if threads > 1 else frame_stream(source.read, memory)).read


class _RawOutput(io.RawIOBase):
    """Decompressed bytes as the raw stream of a buffered one."""

    def __init__(self, source: Decompressor) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.read(min(len(buffer), _OUTPUT_STEP))
        buffer[: len(data)] = data
        return len(data)
