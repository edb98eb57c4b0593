"""Writer of an image archive: an OCI layout in a tar, with a manifest.json for `docker load`.

`docker save` writes this form since 2023; skopeo, podman, containerd and older engines read it too. The body of a blob
is written first and its tar header before it afterwards, so no byte is written twice.
Sources: OCI image spec, image-layout.md and manifest.md; Docker image spec v1.2.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from auditor.codec.compression import compression_of
from auditor.codec.file_slices import FileSlice
from auditor.codec.tar_headers import BLOCK, padded
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.rebuild.compress import compressor
from auditor.rebuild.growing_file import GrowingFile

_BUFFER = 1 << 20


Write = Callable[[Callable[[bytes | memoryview], object]], None]


class ReadBack(Protocol):
    """Result of reading a layer back: at least digest and size of its stored bytes."""

    @property
    def digest(self) -> Digest:
        """Digest of the stored bytes."""
        ...

    @property
    def size(self) -> int:
        """Number of stored bytes."""
        ...


_Read = TypeVar("_Read", bound=ReadBack)


@dataclass(frozen=True, slots=True)
class CompressionOptions:
    """Compression of rewritten layers; `level` None is the fast default."""

    name: str = "none"
    level: int | None = None
    threads: int = 2


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A written layer; `size` and `digest` are of the stored bytes."""

    digest: Digest
    size: int
    diff_id: DiffID
    compression: str | None


class ArchiveWriter:
    """A tar under construction at `path`. Callers must `close` it."""

    def __init__(self, path: Path) -> None:
        """Create the file. Raises OSError where it exists or can't be written."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._at = 0
        self._blobs: set[str] = set()
        self._digests: list[Future[Digest]] = []
        self._reader = ThreadPoolExecutor(1, "read back")

    def close(self) -> None:
        """Close the file and end the thread."""
        self._reader.shutdown(cancel_futures=True)
        os.close(self._file)

    def verified_digests(self) -> frozenset[Digest]:
        """Return the digests of all layers, hashed from the file."""
        return frozenset(future.result() for future in self._digests)

    def layer(self, write: Write, options: CompressionOptions, read: Callable[[BinaryIO], _Read]) -> _Read:
        """Store a layer: `write` produces its tar in pieces, `read` reads it back in another thread."""
        reader_stream = GrowingFile(self._file, self._at + BLOCK)
        record = self._reader.submit(read, cast(BinaryIO, reader_stream))
        sink = _LayerSink(self._file, self._at + BLOCK, options, reader_stream)
        try:
            write(sink.write)
            sink.finish()
        except BaseException:
            reader_stream.end(broken=True)
            record.exception()
            raise
        reader_stream.end()
        read_back = record.result()
        self._digests.append(Future())
        self._digests[-1].set_result(read_back.digest)
        self._add_blob(read_back.digest, read_back.size)
        return read_back

    def copy(self, content: FileSlice, digest: Digest) -> str | None:
        """Copy a blob with a verified digest; return its compression."""
        head = os.pread(content.file.descriptor, min(8, content.size), content.offset)
        if digest not in self._blobs:
            start = self._at + BLOCK
            _copy(content, self._file, start)
            self._add_blob(digest, content.size)
            self._digests.append(self._reader.submit(_digest, self._file, start, content.size, digest.algorithm))
        return compression_of(head)

    def document(self, value: Any) -> dict[str, Any]:
        """Store a JSON document as a blob; return digest and size for a descriptor."""
        data = value if isinstance(value, bytes) else encoded(value)
        digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
        if digest not in self._blobs:
            _write_all(self._file, data, self._at + BLOCK)
            self._add_blob(digest, len(data))
        return {"digest": str(digest), "size": len(data)}

    def member(self, name: str, data: bytes) -> None:
        """Store a file outside `blobs/`."""
        _write_all(self._file, data, self._at + BLOCK)
        self._header(name, len(data))

    def end(self) -> None:
        """Write the end-of-archive marker."""
        _write_all(self._file, bytes(2 * BLOCK), self._at)
        os.ftruncate(self._file, self._at + 2 * BLOCK)

    def _add_blob(self, digest: Digest, size: int) -> None:
        """Turn the bytes after the position into a blob; a repeated blob is overwritten."""
        if digest not in self._blobs:
            self._blobs.add(digest)
            self._header(f"blobs/{digest.algorithm}/{digest.hex}", size)

    def _header(self, name: str, size: int) -> None:
        block = bytearray(BLOCK)
        block[0 : len(name)] = name.encode()
        block[100:124] = b"%07o\0%07o\0%07o\0" % (0o644, 0, 0)
        block[124:136] = b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
        block[136:148] = b"%011o\0" % 0
        block[148:157] = b" " * 8 + b"0"
        block[257:265] = b"ustar\x0000"
        block[148:156] = b"%06o\0 " % sum(block)
        _write_all(self._file, bytes(block), self._at)
        _write_all(self._file, bytes(padded(size) - size), self._at + BLOCK + size)
        self._at += BLOCK + padded(size)


class _LayerSink:
    """Sink for a layer's tar: compresses, writes at its position, and advances `reader_stream`."""

    def __init__(self, file: int, at: int, options: CompressionOptions, reader_stream: GrowingFile) -> None:
        self._file, self._at, self._reader_stream = file, at, reader_stream
        self._compressor = compressor(options.name, self._store, options.level, options.threads)
        self._buffer, self._fill = bytearray(_BUFFER), 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        view = memoryview(data)
        while view:
            count = min(len(view), _BUFFER - self._fill)
            self._buffer[self._fill : self._fill + count] = view[:count]
            self._fill += count
            view = view[count:]
            if self._fill == _BUFFER:
                self._flush()

    def _flush(self) -> None:
        full = memoryview(self._buffer)[: self._fill]
        if self._compressor is not None:
            self._compressor.write(bytes(full))
        else:
            self._store(full)
        self._fill = 0

    def _store(self, data: bytes | memoryview) -> None:
        _write_all(self._file, data, self._at)
        self._at += len(data)
        self._reader_stream.advance(self._at)

    def finish(self) -> None:
        """Write the rest."""
        self._flush()
        if self._compressor is not None:
            self._compressor.finish()


def _write_all(file: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _copy(content: FileSlice, file: int, at: int) -> None:
    """Copy within the kernel where it can, else through memory."""
    done = 0
    try:
        while count := min(_BUFFER, content.size - done):
            place = content.offset + done, at + done
            copied = os.copy_file_range(content.file.descriptor, file, count, *place)
            if not copied:
                break
            done += copied
    except (AttributeError, OSError) as exc:  # not on this system, or between these file systems
        if isinstance(exc, OSError) and exc.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    buffer = memoryview(bytearray(min(_BUFFER, content.size - done)))
    while done < content.size:
        got = os.preadv(content.file.descriptor, [buffer[: content.size - done]], content.offset + done)
        if not got:
            raise OSError(errno.EIO, "the file was truncated while it was read")
        _write_all(file, buffer[:got], at + done)
        done += got


def _digest(file: int, at: int, size: int, algorithm: str) -> Digest:
    """Hash a range of a file."""
    digest, buffer, end = hashlib.new(algorithm), memoryview(bytearray(min(_BUFFER, size))), at + size
    while at < end and (got := os.preadv(file, [buffer[: end - at]], at)):
        digest.update(buffer[:got])
        at += got
    return Digest(f"{algorithm}:{digest.hexdigest()}")


def encoded(value: Any) -> bytes:
    """Encode a JSON document."""
    return json.dumps(value, separators=(",", ":")).encode()
