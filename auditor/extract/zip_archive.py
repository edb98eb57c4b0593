"""Zip archives, and formats built on them: jar, war, wheel, apk, NuGet, office documents.

`zipfile` reads the directory; members are decompressed here, because `zipfile` bounds memory for deflate only
(github.com/python/cpython/issues/156002).
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import IO, cast

import zstandard

from auditor.codec.random_access import RandomAccess
from auditor.codec.signatures import is_opaque
from auditor.core.limits import Limits, limit_note
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.compressed import inflate_raw
from auditor.extract.member_stream import Member

_RECORD = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s22xHH")
_END, _END_BYTES = b"PK\x05\x06", 22  # 4.3.16
_MAX_TAIL = _END_BYTES + (1 << 16)
_MAX_OVERHEAD = 4096
"""Bytes that compression adds at most to random content, besides an eighth."""
_ENCRYPTED, _HAS_DESCRIPTOR, _DESCRIPTOR_BYTES = 1, 8, 16  # 4.4.4, 4.3.9
_USUAL_EXTRA, _USUAL_HEADER = 64, 512
"""Bytes of extra fields, and of a local header, that hold times and numbers. Longer ones may hold text."""
_OPAQUE_BYTES = 16
"""Bytes that tell whether a file is opaque."""
_OPENED = 2
"""Entries that a directory may have, as a multiple of the limit of members. A larger one is not read at all."""
_MAX_LZMA_DICTIONARY = 64 << 20
_ZSTD = 93
_STEP = 64 << 10


def read(source: RandomAccess, context: ExtractContext) -> Iterator[Member]:
    """Yield the files of a zip in the order of its directory, then the bytes that belong to none of them."""
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], _DirectoryFile(source, context.limits)))
    except _TooManyMembers:
        most = _OPENED * context.limits.members
        context.skip(None, f"has more than {most} members and is not opened {limit_note('members')}")
        return
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, struct.error) as exc:
        yield from _broken(source, context, exc)
        return
    listed = list[tuple[int, int]]()
    for entry in archive.infolist():
        content = _member(source, entry, context, listed)
        if entry.file_size:
            context.budget.member(len(content or b""))
        if content:
            yield Member(entry.filename, content)
        del content  # it may be large: the next one is read without it
    yield from _unlisted(source, archive, listed, context)


class _TooManyMembers(Exception):
    pass


class _DirectoryFile(io.RawIOBase):
    """The file that `zipfile` reads a directory from, in one piece: it takes about a kilobyte for each entry."""

    def __init__(self, source: RandomAccess, limits: Limits) -> None:
        self._source, self._at, self._limits = source, 0, limits

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("a part of it lies before its beginning")
        self._at = base + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        left = max(self._source.size - self._at, 0)
        count = min(count, left) if count >= 0 else left
        if count > self._limits.archive_bytes:
            raise zipfile.BadZipFile(f"its directory has {count} bytes {limit_note('archive-bytes')}")
        data = bytes(self._source.view(self._at, count))
        if data.count(_RECORD) > _OPENED * self._limits.members:
            raise _TooManyMembers
        self._at += len(data)
        return data


def _broken(source: RandomAccess, context: ExtractContext, reason: Exception) -> Iterator[Member]:
    """Note a file that is no zip, and yield it as a text, unless it only has the ending of one."""
    data = bytes(source.view(0, min(source.size, context.limits.member_bytes)))
    if data.startswith(b"PK") or _RECORD in data:  # a program may precede the archive
        context.skip(None, f"is a broken zip: {reason}")
        yield _as_text([data])


def _as_text(pieces: Iterable[bytes]) -> Member:
    """Return bytes that are no member: the search of the whole file leaves words out, as most of it is compressed.

    The text begins with a line break, or it would be taken for an opaque file like the archive.
    """
    text = b"\n".join((b"", *pieces))
    return Member(None, text, "zip", search_text=text)


def _unlisted(
    source: RandomAccess, archive: zipfile.ZipFile, listed: list[tuple[int, int]], context: ExtractContext
) -> Iterator[Member]:
    """Yield what stands outside of the half-open ranges of the members: comments, a script, members not listed.

    A program before the archive is opaque, as elsewhere.
    """
    gaps, at = list[tuple[int, int]](), 0
    for start, end in [*sorted(listed), (archive.start_dir, 0)]:
        if start > at:
            gaps.append((at, start))
        at = max(at, end)
    head = bytes(source.view(0, _OPAQUE_BYTES))
    if gaps and gaps[0][0] == 0 and not head.startswith(b"PK") and is_opaque(head, gaps[0][1]):
        del gaps[0]
    size, most = sum(end - start for start, end in gaps), context.limits.member_bytes
    if size > most:
        context.skip(
            None, f"has {size} bytes outside of its members, searched for tokens alone {limit_note('member-bytes')}"
        )
        gaps = []
    pieces = [bytes(source.view(start, end - start)) for start, end in gaps]
    pieces += (entry.comment for entry in archive.infolist() if entry.comment)
    pieces += (entry.extra for entry in archive.infolist() if len(entry.extra) > _USUAL_EXTRA)
    tail = bytes(source.view(max(source.size - _MAX_TAIL, 0), _MAX_TAIL))
    if behind := tail[tail.rfind(_END) + _END_BYTES :]:
        pieces.append(behind)
    if pieces:
        yield _as_text(pieces)


def _member(
    source: RandomAccess, entry: zipfile.ZipInfo, context: ExtractContext, listed: list[tuple[int, int]]
) -> bytes | None:
    """Return the content of a member, and add its range; note the reason and return None where it can't be read."""
    size = entry.file_size
    try:
        start = _start(source, entry)
    except (ValueError, struct.error) as exc:
        context.skip(entry.filename, f"is broken: {exc}")
        return None
    descriptor = _DESCRIPTOR_BYTES if entry.flag_bits & _HAS_DESCRIPTOR else 0
    begin = entry.header_offset if start - entry.header_offset <= _USUAL_HEADER else start
    listed.append((begin, start + entry.compress_size + descriptor))
    if not size or entry.filename.endswith("/"):
        return None
    if entry.flag_bits & _ENCRYPTED:
        context.skip(entry.filename, "is encrypted")
        return None
    expand = _METHODS.get(entry.compress_type) if entry.compress_type != _ZSTD else partial(_zstd, context.limits)
    if expand is None:
        context.skip(entry.filename, f"is compressed by method {entry.compress_type}, which is not supported")
        return None
    if context.exceeds_member_bytes(entry.filename, size):
        return None
    try:
        content = expand(source.view(start, min(entry.compress_size, size + size // 8 + _MAX_OVERHEAD)), size)
    except (ValueError, EOFError, OSError, struct.error, lzma.LZMAError, MemoryError) as exc:
        context.skip(entry.filename, f"is broken: {exc}", transient=is_transient(exc))
        return None
    return content


def _start(source: RandomAccess, entry: zipfile.ZipInfo) -> int:
    """Return the offset of the compressed bytes, which begin behind the local header."""
    at = entry.header_offset
    if at < 0 or entry.compress_size < 0:
        raise ValueError("it lies outside the archive")
    magic, name, extra = _LOCAL.unpack(source.view(at, _LOCAL.size))
    if magic != b"PK\x03\x04":
        raise ValueError("the directory points to no header")
    return at + _LOCAL.size + int(name) + int(extra)


def _plain(data: memoryview, size: int) -> bytes:
    return bytes(data[:size])


def _deflate(data: memoryview, size: int) -> bytes:
    return inflate_raw(data, size, -15)


def _bzip2(data: memoryview, size: int) -> bytes:
    return _decoded(bz2.BZ2Decompressor(), data, size)


def _lzma(data: memoryview, size: int) -> bytes:
    """Zip's LZMA: version, length of the properties, properties, data. APPNOTE.TXT, 5.8.8."""
    length = struct.unpack_from("<2xH", data)[0]
    packed, dictionary = struct.unpack_from("<BI", data, 4)
    if length != 5 or packed >= 9 * 5 * 5 or dictionary > _MAX_LZMA_DICTIONARY:
        raise ValueError("LZMA properties out of range")
    options = {"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": packed % 9}
    options |= {"lp": packed // 9 % 5, "pb": packed // 45}
    return _decoded(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options]), data[9:], size)


def _decoded(decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: memoryview, size: int) -> bytes:
    """Return at most `size` bytes. The input goes in steps, because a decoder copies all of it."""
    pieces, left, at = list[bytes](), size, 0
    while left > 0 and not decoder.eof and (at < len(data) or not decoder.needs_input):
        step = data[at : at + _STEP] if decoder.needs_input else b""
        pieces.append(decoder.decompress(step, left))
        at, left = at + len(step), left - len(pieces[-1])
    return b"".join(pieces)


def _zstd(limits: Limits, data: memoryview, size: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=limits.decoder_memory).stream_reader(data)
    try:
        return bytes(reader.read(size))
    except zstandard.ZstdError as exc:
        limit = f" {limit_note('decoder-memory')}" if "memory" in str(exc) else ""
        raise ValueError(f"{exc}{limit}") from exc


_METHODS: dict[int, Callable[[memoryview, int], bytes]] = {
    zipfile.ZIP_STORED: _plain,
    zipfile.ZIP_DEFLATED: _deflate,
    zipfile.ZIP_BZIP2: _bzip2,
    zipfile.ZIP_LZMA: _lzma,
}
