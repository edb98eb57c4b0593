"""Compressed files of one stream, and text in UTF-16."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

from auditor.codec.compression import decompressed
from auditor.core.errors import Damaged
from auditor.core.limits import named
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.file_types import HEAD, STREAMED, kind_of
from auditor.extract.member_stream import Member, MemberStream, RawMemberStream, as_stream

_STEP = 256 << 10


def compressed(body: bytes | MemberStream, context: ExtractContext, kind: str) -> Iterator[Member]:
    """Yield what a compressed stream holds, as a stream too, but for archives that can't be read so."""
    inner = inflated(body, context)
    try:
        head = inner.peek(HEAD)
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
        return
    held = kind_of(inner_name(context.name), head)
    if held is None or held in STREAMED:
        yield Member(None, inner, kind)
        return
    data = whole(inner, context)
    if data:
        yield Member(None, data, kind)


def inflated(body: bytes | MemberStream, context: ExtractContext) -> MemberStream:
    """Return the uncompressed bytes; each counts in the budget. Reading raises Damaged and Exhausted."""
    raw = io.BytesIO(body) if isinstance(body, bytes) else RawMemberStream(as_stream(body))
    stream = decompressed(io.BufferedReader(raw, 1 << 16), context.limits)

    def some(count: int) -> bytes:
        got = stream.read(min(count, _STEP))
        context.budget.spend(len(got))
        return got

    return MemberStream(some)


def whole(source: MemberStream, context: ExtractContext) -> bytes:
    """Read a stream as far as a member may go; what breaks or goes on is noted, what was read is kept."""
    pieces, size, limit = [], 0, context.limits.member_bytes
    try:
        while size <= limit and (piece := source.read(min(_STEP, limit + 1 - size))):
            pieces.append(piece)
            size += len(piece)
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
    if size > limit:
        context.skip(None, f"goes on beyond {limit} bytes; the rest was left out {named('member-bytes')}")
    return b"".join(pieces)[:limit]


def utf16(body: bytes | MemberStream, context: ExtractContext, kind: str) -> Iterator[Member]:
    """Yield a text as UTF-8."""
    text = (
        as_stream(body)
        .read(context.limits.member_bytes)
        .decode(kind.replace("16", "16-"), "replace")
        .removeprefix("\ufeff")
    )
    data = text.encode("utf-8", "replace")
    context.budget.spend(len(data))
    yield Member(None, data, kind)


def inflate_raw(data: memoryview, size: int, wbits: int) -> bytes:
    """Return at most `size` bytes of deflated data. Raises zlib.error."""
    engine, pieces, left = zlib.decompressobj(wbits), list[bytes](), size
    for at in range(0, len(data), _STEP):  # in steps: zlib copies what it is given and does not need
        pieces.append(engine.decompress(data[at : at + _STEP], left))
        left -= len(pieces[-1])
        if engine.eof or left <= 0:
            break
    return b"".join(pieces)


def inner_name(name: str) -> str:
    """`a.tar.gz` holds `a.tar`; a short name stands for it."""
    if name.endswith((".tgz", ".tbz2", ".txz", ".tzst")):
        return name.rpartition(".")[0] + ".tar"
    return name.rpartition(".")[0] or name
