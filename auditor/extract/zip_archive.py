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
from collections.abc import Callable, Iterator
from functools import partial

import zstandard

from auditor.core.limits import Limits, limit_note
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.compressed import inflate_raw
from auditor.extract.member_stream import Member

_RECORD = b"PK\x01\x02"
_RECORD_BYTES = 46  # at least: APPNOTE.TXT, 4.3.12
_LOCAL = struct.Struct("<4s22xHH")
_ENCRYPTED = 1
_OPENED = 3
"""Entries that a directory may have, as a multiple of the limit of members. A larger one is not read at all."""
_MAX_LZMA_DICTIONARY = 64 << 20
_ZSTD = 93
_STEP = 64 << 10


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the files of a zip in the order of its directory."""
    # zipfile reads all entries at once, and takes about a kilobyte for each.
    most = _OPENED * context.limits.members
    if len(data) > most * _RECORD_BYTES and data.count(_RECORD) > most:
        context.skip(
            None, f"has more than {_OPENED * context.limits.members} members and is not opened {limit_note('members')}"
        )
        return
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, struct.error) as exc:
        if data.startswith(b"PK") or _RECORD in data:  # a program may precede the archive
            context.skip(None, f"is a broken zip: {exc}")
        return
    for entry in entries:
        if entry.is_dir() or not entry.file_size:
            continue
        context.budget.member()
        member = _member(memoryview(data), entry, context)
        if member:
            yield Member(entry.filename, member)


def _member(data: memoryview, entry: zipfile.ZipInfo, context: ExtractContext) -> bytes | None:
    """Return the content of a member; note the reason and return None where it can't be read."""
    if entry.flag_bits & _ENCRYPTED:
        context.skip(entry.filename, "is encrypted")
        return None
    expand = _METHODS.get(entry.compress_type) if entry.compress_type != _ZSTD else partial(_zstd, context.limits)
    if expand is None:
        context.skip(entry.filename, f"is compressed by method {entry.compress_type}, which is not supported")
        return None
    if context.exceeds_member_bytes(entry.filename, entry.file_size):
        return None
    try:
        content = expand(_stored(data, entry), entry.file_size)
    except (ValueError, EOFError, OSError, struct.error, lzma.LZMAError, MemoryError) as exc:
        context.skip(entry.filename, f"is broken: {exc}", transient=is_transient(exc))
        return None
    context.budget.spend(len(content))
    return content


def _stored(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """Return the compressed bytes, which begin behind the local header."""
    at = entry.header_offset
    if at < 0 or entry.compress_size < 0:
        raise ValueError("it lies outside the archive")
    magic, name, extra = _LOCAL.unpack_from(data, at)
    if magic != b"PK\x03\x04":
        raise ValueError("the directory points to no header")
    start = at + 30 + int(name) + int(extra)
    return data[start : start + entry.compress_size]


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
