"""Archives: tar files as `docker save`, `podman save` and `skopeo` write them, old form and OCI layout.

An uncompressed file is indexed, and its layers are slices of it. An archive that can't be read twice (standard input,
an engine's export, a compressed file) is an `ArchiveStream`: JSON documents are buffered, every other member is yielded
as a layer stream.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import BLOCK, Header, is_header, padded
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged, ImageError, NotAnImage
from auditor.core.limits import Limits, limit_note
from auditor.images.archive_images import digest_in_path, images_of
from auditor.images.manifest import Origin
from auditor.images.members import BufferedMember, Member, Members
from auditor.images.source import Image, ImageSource, LayerRef, RereadableSource

_CHUNK = 1 << 20


def open_file(file: SharedFile, origin: Origin, tag: str | None) -> ImageSource:
    """Open an archive file, compressed or not.

    Raises NotAnImage, Damaged, NotFound for the tag or platform.
    """
    stream = file.stream()
    if file.size and compression_of(stream.peek(8)[:8]) is None:
        return RereadableSource(images_of(_indexed(file, origin), origin, tag))
    return open_stream(decompressed(stream, origin.limits, origin.target), origin, tag)


def open_stream(stream: BinaryIO, origin: Origin, tag: str | None) -> ArchiveStream:
    """Open an uncompressed archive that arrives as a stream."""
    return ArchiveStream(lambda: nullcontext(stream), origin, tag)


class ArchiveStream:
    """An archive that can be read only once. Implements `ImageSource`.

    The context manager that `connect` returns is entered by the first read and left at the end of the archive.
    """

    def __init__(
        self, connect: Callable[[], AbstractContextManager[BinaryIO]], origin: Origin, tag: str | None
    ) -> None:
        self._connect, self._origin, self._tag = connect, origin, tag
        self._members = Members(origin.target, origin.limits)

    def streams(self) -> Iterator[tuple[LayerRef, BinaryIO]]:
        """Yield every member that is no JSON document, with its bytes. Raises NotAnImage, Damaged."""
        what, limits, buffered = self._origin.target, self._origin.limits, 0
        with self._connect() as stream:
            for header, body in walk_stream(stream, what, limits):
                if header.kind is not EntryKind.FILE:
                    self._members.add(header, None)
                    continue
                reader = io.BufferedReader(body, 1 << 16)
                if header.size <= limits.json_bytes and reader.peek(1)[:1] in (b"{", b"[", b""):
                    data = reader.read()
                    buffered += len(data)
                    if buffered > limits.json_total:
                        limit = f"{limits.json_total} bytes of JSON documents {limit_note('json-total')}"
                        raise Damaged(f"{what}: more than {limit}")
                    self._members.add(header, BufferedMember(data))
                else:
                    layer = LayerRef(f"{what}: {header.path}", header.offset, digest_in_path(header.path))
                    yield layer, reader
                    self._members.add(header, layer)

    def images(self) -> tuple[Image, ...]:
        """Return the images of the members read so far. Raises NotAnImage, Damaged, NotFound."""
        return images_of(self._members, self._origin, self._tag)

    def used_members(self) -> Mapping[str, Member]:
        """Return the members that `images` read or named, by their paths in manifest.json and index.json."""
        return self._members.used

    def rereadable_images(self) -> tuple[Image, ...]:
        """Copy the archive to an unlinked temporary file and return its images."""
        with self._connect() as stream, tempfile.TemporaryFile() as spool:
            while chunk := stream.read(_CHUNK):
                spool.write(chunk)
            spool.flush()
            file = SharedFile(os.dup(spool.fileno()))
        return images_of(_indexed(file, self._origin), self._origin, self._tag)


def _indexed(file: SharedFile, origin: Origin) -> Members:
    """Index the members of an uncompressed tar file as slices of it."""
    what = origin.target
    walker, members = TarParser(origin.limits), Members(what, origin.limits)
    size, at = file.size, 0
    first = os.pread(file.descriptor, BLOCK, 0)
    _require_tar(first, what)
    while not walker.ended and at < size:
        block = os.pread(file.descriptor, 1 << 16, at)
        if not block:
            raise Damaged(f"{what}: became shorter while it was read")
        for header in _headers(walker, block, at, what):
            if header.offset + header.size > size:
                raise Damaged(f"{what}: cut off in member {header.path!r:.200}, at byte {size}")
            members.add(header, FileSlice(file, header.offset, header.size))
        at = at + len(block) if walker.is_mid_entry else walker.position
    _finish(walker, size, what)
    return members


def walk_stream(stream: BinaryIO, what: str, limits: Limits) -> Iterator[tuple[Header, io.RawIOBase]]:
    """Yield each header of a tar stream with its body; the unread rest of a body is skipped before the next header."""
    walker, at = TarParser(limits), 0
    while not walker.ended:
        block = stream.read(BLOCK)
        if at == 0:
            _require_tar(block, what)
        if not block:
            break
        for header in _headers(walker, block, at, what):
            body = _Body(stream, header.size, f"{what}: {header.path}")
            yield header, body
            body.drain(padded(header.size))
            at = walker.position - len(block)
        at += len(block)
    _finish(walker, at, what)
    while stream.read(_CHUNK):  # to the end, so that checksums of the compression are verified
        pass


def _headers(walker: TarParser, block: bytes, at: int, what: str) -> Iterator[Header]:
    """Yield a block's headers. Raises Damaged with the archive's name."""
    try:
        yield from walker.feed(memoryview(block), at)
    except Damaged as exc:
        raise Damaged(f"{what}: {exc}") from None


def _finish(walker: TarParser, size: int, what: str) -> None:
    try:
        walker.finish(size)
    except Damaged as exc:
        raise Damaged(f"{what}: {exc}") from None


class _Body(io.RawIOBase):
    def __init__(self, stream: BinaryIO, size: int, what: str) -> None:
        self._stream, self._size, self._what = stream, size, what
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        want = min(len(buffer), self._size - self._read)
        if want <= 0:
            return 0
        got: int = self._stream.readinto(memoryview(buffer)[:want])  # type: ignore[attr-defined]
        if not got:
            raise Damaged(f"{self._what}: cut off after {self._read} of {self._size} bytes")
        self._read += got
        return got

    def drain(self, end: int) -> None:
        """Read on up to byte `end` of the body and its padding."""
        self._size, spare = end, memoryview(bytearray(min(_CHUNK, max(end - self._read, 1))))
        while self.readinto(spare):
            pass


def _require_tar(block: bytes, what: str) -> None:
    if len(block) < BLOCK or not is_header(block):
        raise NotAnImage(f"{what}: not an image: neither a tar archive nor an OCI layout folder")


def require_regular(path: Path) -> None:
    """Raise ImageError unless the path is a plain file: a hostile layout may contain a pipe or a device."""
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise ImageError(f"{path}: can't be read: {exc.strerror}") from exc
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path}: not a plain file")
