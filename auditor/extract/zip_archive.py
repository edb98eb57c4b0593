"""Zip archives, and formats built on them: jar, war, wheel, apk, NuGet, office documents.

Members are decompressed here, because `zipfile` bounds memory for deflate only
(github.com/python/cpython/issues/156002), and zip_directory.py reads the directory.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain

import zstandard

from auditor.codec.compression import Decompressor
from auditor.codec.random_access import RandomAccess
from auditor.codec.signatures import HEAD, is_opaque
from auditor.codec.windows import WINDOW
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.compressed import inflate_raw
from auditor.extract.member_stream import Member, MemberStream
from auditor.extract.zip_directory import (
    END,
    END_BYTES,
    MAX_TAIL,
    RECORD,
    BrokenDirectory,
    Directory,
    Entry,
    TooManyEntries,
)

_LOCAL_MAGIC = b"PK\x03\x04"
_LOCAL = struct.Struct("<4s22xHH")
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
_STEP, _BLOCK = 64 << 10, 256 << 10
_STREAMED = {zipfile.ZIP_STORED: None, zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2", _ZSTD: "zstd"}
"""Methods whose large members are read front to back, with the names of their compression."""


def read(source: RandomAccess, context: ExtractContext) -> Iterator[Member]:
    """Yield the files of a zip in the order of its directory, then the bytes that belong to none of them."""
    try:
        directory = Directory(source, context.limits, most := _OPENED * context.limits.members)
    except TooManyEntries:
        context.skip(None, f"has more than {most} members and is not opened {limit_note('members')}")
        return
    except BrokenDirectory as exc:
        yield from _broken(source, context, exc)
        return
    texts, listed = list[bytes](), array("Q")  # comments and other fields; where each member begins and ends
    for entry in directory:
        texts += (text for text, usual in ((entry.comment, 0), (entry.extra, _USUAL_EXTRA)) if len(text) > usual)
        content = _member(source, entry, context, listed)
        if entry.packed_size:
            context.budget.member(len(content) if isinstance(content, bytes) else 0)
        if content:
            yield Member(entry.path, content, size=entry.size)
        del content  # it may be large: the next one is read without it
    yield from _unlisted(source, directory.start, listed, texts, context)


def _broken(source: RandomAccess, context: ExtractContext, reason: Exception) -> Iterator[Member]:
    """Note a file that is no zip, and yield it as a text, unless it only has the ending of one."""
    data = bytes(source.view(0, min(source.size, context.limits.member_bytes)))
    if data.startswith(b"PK") or RECORD in data:  # a program may precede the archive
        context.skip(None, f"is a broken zip: {reason}")
        yield _as_text([data])


def _as_text(pieces: Iterable[bytes]) -> Member:
    """Return bytes that are no member: the search of the whole file leaves words out, as most of it is compressed.

    The text begins with a line break, or it would be taken for an opaque file like the archive.
    """
    text = b"\n".join((b"", *pieces))
    return Member(None, text, "zip", search_text=text)


def _unlisted(
    source: RandomAccess, directory: int, listed: array[int], texts: list[bytes], context: ExtractContext
) -> Iterator[Member]:
    """Yield what stands outside of the members and of the directory, at an offset: a script, members not listed.

    Then `texts`. A program before the archive is opaque, as elsewhere.
    """
    gaps, at = list[tuple[int, int]](), 0
    for start, end in chain(sorted(zip(listed[::2], listed[1::2], strict=True)), [(directory, 0)]):
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
    if any(_LOCAL_MAGIC in piece for piece in pieces):
        context.skip(None, "has members that its directory does not list; they are searched as they are stored")
    pieces += texts
    tail = bytes(source.view(max(source.size - MAX_TAIL, 0), MAX_TAIL))
    if behind := tail[tail.rfind(END) + END_BYTES :]:
        pieces.append(behind)
    if pieces:
        yield _as_text(pieces)


def _member(
    source: RandomAccess, entry: Entry, context: ExtractContext, listed: array[int]
) -> bytes | MemberStream | None:
    """Return the content of a member, and add its range; note the reason and return None where it can't be read."""
    size = entry.size
    try:
        start = _start(source, entry)
    except (ValueError, struct.error) as exc:
        context.skip(entry.path, f"is broken: {exc}")
        return None
    descriptor = _DESCRIPTOR_BYTES if entry.flags & _HAS_DESCRIPTOR else 0
    listed.append(entry.header if start - entry.header <= _USUAL_HEADER else start)
    listed.append(min(start + entry.packed_size + descriptor, source.size))
    if not entry.packed_size:
        return None
    if entry.flags & _ENCRYPTED:
        context.skip(entry.path, "is encrypted")
        return None
    expand = _METHODS.get(entry.method) if entry.method != _ZSTD else partial(_zstd, context.limits)
    if expand is None:
        context.skip(entry.path, f"is compressed by method {entry.method}, which is not supported")
        return None
    if size > WINDOW and entry.method in _STREAMED:
        return _streamed(source, entry, start, context)
    if context.exceeds_member_bytes(entry.path, size):
        return None
    try:
        content = expand(source.view(start, min(entry.packed_size, size + size // 8 + _MAX_OVERHEAD)), size + 1)
    except (ValueError, EOFError, OSError, struct.error, lzma.LZMAError, MemoryError) as exc:
        context.skip(entry.path, f"is broken: {exc}", transient=is_transient(exc))
        return None
    if len(content) <= size:
        return content
    if entry.method in _STREAMED:
        return _streamed(source, entry, start, context)
    context.skip(entry.path, f"has more than the {size} bytes that the directory says; the rest was left out")
    return content


def _streamed(source: RandomAccess, entry: Entry, start: int, context: ExtractContext) -> MemberStream | None:
    """Return the content of a member whose compressed bytes begin at an offset; note damage at its start.

    It is read to its end, whatever size the directory says: programs that extract it do so too. Bytes read count in the
    budget.
    """
    at = start
    kind = _STREAMED[entry.method]

    def read_packed(count: int) -> bytes:
        nonlocal at
        data = bytes(source.view(at, min(count, start + entry.packed_size - at)))
        at += len(data)
        return data

    read = Decompressor(kind, read_packed, context.limits).read if kind else read_packed

    def read_some(count: int) -> bytes:
        data = read(min(count, _BLOCK))
        context.budget.spend(len(data))
        return data

    stream = MemberStream(read_some)
    try:
        stream.peek(HEAD)
    except Damaged as exc:
        context.skip(entry.path, str(exc), transient=is_transient(exc))
        return None
    return stream


def _start(source: RandomAccess, entry: Entry) -> int:
    """Return the offset of the compressed bytes, which begin behind the local header."""
    at = entry.header
    if at > source.size:
        raise ValueError("it lies outside the archive")
    magic, name, extra = _LOCAL.unpack(source.view(at, _LOCAL.size))
    if magic != _LOCAL_MAGIC:
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
