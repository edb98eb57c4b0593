"""Files that are one compressed stream: gzip, bzip2, xz, zstd."""

from __future__ import annotations

import io
from collections.abc import Iterator

from auditor.codec.compression import Decompressor, InflateError, compression_of, inflater
from auditor.codec.signatures import HEAD
from auditor.core.errors import Damaged
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.member_stream import Member, MemberStream

_STEP = 256 << 10


def gzip(body: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the content of a gzip file."""
    return _content(body, context, "gzip")


def bzip2(body: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the content of a bzip2 file."""
    return _content(body, context, "bzip2")


def xz(body: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the content of an xz file."""
    return _content(body, context, "xz")


def zstd(body: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the content of a zstd file."""
    return _content(body, context, "zstd")


def _content(body: MemberStream, context: ExtractContext, coding: str) -> Iterator[Member]:
    content = inflated(body, context)
    try:
        content.peek(HEAD)  # damage at the start is noted once, here
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
        return
    yield Member(None, content, coding)


def inflated(body: MemberStream, context: ExtractContext) -> MemberStream:
    """Return the decompressed bytes, counted in the budget; data without a known compression as it is.

    Reading raises Damaged and BudgetExceeded.
    """
    kind = compression_of(body.peek(8))
    read = Decompressor(kind, body.read, context.limits).read if kind else body.read

    def read_some(count: int) -> bytes:
        data = read(min(count, _STEP))
        context.budget.spend(len(data))
        return data

    return MemberStream(read_some)


def inflate_raw(data: memoryview, size: int, wbits: int) -> bytes:
    """Return at most `size` bytes of deflated data. Raises ValueError where it is broken."""
    decoder = inflater(wbits)
    try:
        if len(data) <= _STEP:  # of nearly all members
            return bytes(decoder.decompress(data, size))
        content = io.BytesIO()  # getvalue() returns its buffer, not a copy
        for at in range(0, len(data), _STEP):  # in steps: the decoder copies the input that it has not used
            content.write(decoder.decompress(data[at : at + _STEP], size - content.tell()))
            if decoder.eof or content.tell() >= size:
                break
    except InflateError as exc:
        raise ValueError(str(exc)) from exc
    return content.getvalue()


def inner_name(name: str) -> str:
    """Return the name of the content: `a.tar` of `a.tar.gz` and of `a.tgz`."""
    if name.endswith((".tgz", ".tbz2", ".txz", ".tzst")):
        return name.rpartition(".")[0] + ".tar"
    return name.rpartition(".")[0] or name
