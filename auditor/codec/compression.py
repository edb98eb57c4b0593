"""Streams of compressed bytes. The bytes decide, not the media type: layers lie about it in the wild."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from auditor.codec.limits import MAX_RATIOS, MAX_UNCOMPRESSED, MAX_XZ_MEMORY, MAX_ZSTD_WINDOW
from auditor.errors import Damaged

if TYPE_CHECKING:
    import lzma

_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
}
_SKIPPABLE = (b"\x2a\x4d\x18", range(0x50, 0x60))  # zstd: 0x184D2A5?, little-endian. RFC 8878, 3.1.2


def compression_of(head: bytes) -> str | None:
    """Name the compression that `head`, the first bytes of a stream, begins; None for anything else."""
    if head[1:4] == _SKIPPABLE[0] and head[:1] and head[0] in _SKIPPABLE[1]:
        return "zstd"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def decompressed(stream: io.BufferedReader[Any]) -> BinaryIO:
    """Return the uncompressed bytes of `stream`, or the stream itself where it is not compressed.

    Several gzip members and several zstd frames, skippable ones too, are one stream. Reads of the result raise
    Damaged on broken data and on data that grows beyond all reason.
    """
    kind = compression_of(stream.peek(8)[:8])
    if kind is None:
        return cast(BinaryIO, stream)
    source = _Counted(stream)
    return io.BufferedReader(_Guarded(_opened(kind, source), source, kind), 1 << 16)


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


def _opened(kind: str, stream: Any) -> BinaryIO:
    match kind:
        case "gzip":
            from isal import igzip

            return cast(BinaryIO, igzip.open(stream, "rb"))  # type: ignore[no-untyped-call]
        case "zstd":
            import zstandard

            context = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
            return cast(BinaryIO, context.stream_reader(stream, read_across_frames=True, closefd=False))
        case "xz":
            return io.BufferedReader(_Xz(stream), 1 << 16)
        case _:
            import bz2

            return cast(BinaryIO, bz2.BZ2File(stream))


class _Xz(io.RawIOBase):
    """The streams of an xz file, one after another. The standard library's own reader bounds no memory."""

    def __init__(self, stream: _Counted) -> None:
        self._stream = stream
        self._decoder = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_XZ_MEMORY)

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

    def __init__(self, inner: BinaryIO, source: _Counted, kind: str) -> None:
        self._inner, self._source, self._kind = inner, source, kind
        self._total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        import zlib

        try:
            got: int = self._inner.readinto(buffer)  # type: ignore[attr-defined]
        except Damaged:
            raise
        except (OSError, EOFError, zlib.error) as exc:
            raise Damaged(f"{self._kind} data is broken after {self._total} bytes: {exc}") from exc
        except Exception as exc:
            # zstandard, isal and lzma each have an error class of their own; importing all costs start-up time.
            if type(exc).__module__.split(".")[0] not in ("zstandard", "isal", "igzip_lib", "_lzma", "lzma"):
                raise
            raise Damaged(f"{self._kind} data is broken after {self._total} bytes: {exc}") from exc
        self._total += got
        taken = self._source.taken
        ratio = min((most for size, most in MAX_RATIOS if self._total > size), default=self._total)
        if self._total > min(ratio * max(taken, 1), MAX_UNCOMPRESSED):
            raise Damaged(f"{self._kind} data grows beyond {self._total} bytes out of {taken}")
        return got
