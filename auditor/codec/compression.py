"""Streams of compressed bytes. The bytes decide, not the media type: layers lie about it in the wild."""

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
except ImportError:  # it has no wheel for this machine
    import gzip as igzip  # type: ignore[no-redef]

_COMPRESSIONS = ("gzip", "zstd", "xz", "bzip2")
_MAGICS = tuple((magic, name) for name in _COMPRESSIONS for magic in magics_of(name))


def compression_of(head: bytes) -> str | None:
    """Name the compression that `head`, the first bytes of a stream, begins; None for anything else."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


def decompressed(stream: io.BufferedReader[Any], limits: Limits) -> BinaryIO:
    """Return the uncompressed bytes of `stream`, or the stream itself where it is not compressed.

    Several gzip members and several zstd frames, skippable ones too, are one stream. Reads of the result raise
    Damaged on broken data and on data that grows beyond all reason.
    """
    kind = compression_of(stream.peek(8)[:8])
    if kind is None:
        return cast(BinaryIO, stream)
    source = _Counted(stream)
    inner = _opened(kind, source, limits.decoder_memory)
    return io.BufferedReader(_Guarded(inner, source, kind, limits), 1 << 16)


class _Counted(io.RawIOBase):
    """What a decompressor reads from, and how many bytes it took: a pipe can't tell."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        self._stream = stream
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self._stream.readinto(buffer)
        self.taken += got
        return got


def _opened(kind: str, stream: Any, memory: int) -> BinaryIO:
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
    """The streams of an xz file, one after another. The standard library's own reader bounds no memory."""

    def __init__(self, stream: _Counted, memory: int) -> None:
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
                rest = (self._decoder.unused_data + (self._stream.read(1 << 16) or b"")).lstrip(
                    b"\0"
                )  # padding: xz, 2.2
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


class _Guarded(io.RawIOBase):
    """Turns every library's error into Damaged and stops bombs."""

    def __init__(self, inner: BinaryIO, source: _Counted, kind: str, limits: Limits) -> None:
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
            # zstandard, isal and lzma each have an error class of their own.
            if type(exc).__module__.split(".")[0] not in ("zstandard", "isal", "igzip_lib", "_lzma", "lzma"):
                raise
            raise self._broken(exc) from exc
        self._total += got
        if self._total > self._free:
            self._bound(self._total, max(self._source.taken, 1))
        return got

    def _broken(self, exc: Exception) -> Damaged:
        limit = f" {limit_note('decoder-memory')}" if "memory" in str(exc).lower() else ""
        return Damaged(f"{self._kind} data is broken after {self._total} bytes: {exc}{limit}")

    def _bound(self, total: int, taken: int) -> None:
        """Stop what grows beyond all reason: a file of zeros is honest, and nothing honest goes on so for long."""
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
