"""Decompression of streams: gzip, zstd, xz, bzip2. Magic bytes decide, because media types are often wrong."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import Any, BinaryIO, cast

import zstandard

from auditor.codec.signatures import magics_of
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note

try:
    from isal import igzip
except ImportError:  # no wheel for this platform
    import gzip as igzip  # type: ignore[no-redef]

_COMPRESSIONS = ("gzip", "zstd", "xz", "bzip2")
_MAGICS = tuple((magic, name) for name in _COMPRESSIONS for magic in magics_of(name))


def compression_of(head: bytes) -> str | None:
    """Return the compression of a stream by its first 8 bytes; None where it is not compressed."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


def decompressed(stream: io.BufferedReader[Any], limits: Limits) -> BinaryIO:
    """Return the decompressed bytes of `stream`, or the stream itself where it is not compressed.

    Several gzip members are one stream, and so are several zstd frames, skippable ones included. Reading the result
    raises Damaged on broken data and beyond the limits of growth.
    """
    kind = compression_of(stream.peek(8)[:8])
    if kind is None:
        return cast(BinaryIO, stream)
    source = _CountedInput(stream)
    inner = _decompressor(kind, source, limits.decoder_memory)
    return io.BufferedReader(_LimitedOutput(inner, source, kind, limits), 1 << 16)


class _CountedInput(io.RawIOBase):
    """Input of a decompressor, with the number of bytes read: a pipe has no position."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self._stream.readinto(buffer)
        self.count += got
        return got


def _decompressor(kind: str, stream: Any, memory: int) -> BinaryIO:
    match kind:
        case "gzip":
            return cast(BinaryIO, igzip.open(stream, "rb"))  # type: ignore[no-untyped-call]
        case "zstd":
            context = zstandard.ZstdDecompressor(max_window_size=memory)
            return cast(BinaryIO, context.stream_reader(stream, read_across_frames=True, closefd=False))
        case "xz":
            return io.BufferedReader(_Xz(stream, memory), 1 << 16)
        case _:
            return cast(BinaryIO, bz2.BZ2File(stream))


class _Xz(io.RawIOBase):
    """All streams of an xz file. The standard library's own reader has no limit of memory."""

    def __init__(self, stream: _CountedInput, memory: int) -> None:
        self._stream, self._memory = stream, memory
        self._decoder = self._new()

    def _new(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, self._memory)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            data = b""
            if self._decoder.eof:
                following = self._decoder.unused_data + (self._stream.read(1 << 16) or b"")
                rest = following.lstrip(b"\0")  # stream padding: xz file format, 2.2
                if not rest:
                    return 0
                self._decoder, data = self._new(), rest
            elif self._decoder.needs_input:
                data = self._stream.read(1 << 16) or b""
                if not data:
                    raise EOFError("it ends within the stream")
            got = self._decoder.decompress(data, len(buffer))
            if got:
                buffer[: len(got)] = got
                return len(got)


class _LimitedOutput(io.RawIOBase):
    """Output of a decompressor, with limits of growth; errors of each library become Damaged."""

    def __init__(self, inner: BinaryIO, source: _CountedInput, kind: str, limits: Limits) -> None:
        self._inner, self._source, self._kind, self._limits = inner, source, kind, limits
        self._total, self._free = 0, min(limits.layer_growth_free, limits.layer_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            got: int = self._inner.readinto(buffer)  # type: ignore[attr-defined]
        except Damaged:
            raise
        except (OSError, EOFError, zlib.error) as exc:
            raise self._broken(exc) from exc
        except Exception as exc:
            # The error classes of zstandard, isal and lzma have no common base.
            if type(exc).__module__.split(".")[0] not in ("zstandard", "isal", "igzip_lib", "_lzma", "lzma"):
                raise
            raise self._broken(exc) from exc
        self._total += got
        if self._total > self._free:
            self._check_growth(self._total, max(self._source.count, 1))
        return got

    def _broken(self, exc: Exception) -> Damaged:
        limit = f" {limit_note('decoder-memory')}" if "memory" in str(exc).lower() else ""
        return Damaged(f"{self._kind} data is broken after {self._total} bytes: {exc}{limit}")

    def _check_growth(self, total: int, taken: int) -> None:
        """Raise Damaged beyond the limits of growth. They start at a size that a file of zeros may reach."""
        limits = self._limits
        if total > limits.layer_bytes:
            raise Damaged(f"{self._kind} data has more than {limits.layer_bytes} bytes {limit_note('layer-bytes')}")
        large = total > 4 * limits.layer_growth_free
        # Deflate can't exceed 1032:1; xz, bzip2 and zstd can.
        most, name = limits.layer_growth, "layer-growth"
        if large and limits.layer_growth_large < most:
            most, name = limits.layer_growth_large, "layer-growth-large"
        if limits.layer_growth_free < total > most * taken:
            raise Damaged(f"{self._kind} data grows beyond {total} bytes out of {taken} {limit_note(name)}")
