"""Tar archives. A saved image is one: its layers are tars in a tar."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.codec.signatures import HEAD
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import Header
from auditor.codec.windows import WINDOW
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.member_stream import Member, MemberStream

_BLOCK = 64 << 10


def read(source: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the files of a tar; of a broken one those before the damage."""
    try:
        yield from _Tar(source, context).files()
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))


class _Tar:
    """A tar that is read block by block. `_at` is the offset up to which the source was read."""

    def __init__(self, source: MemberStream, context: ExtractContext) -> None:
        self._source, self._context = source, context
        self._parser = TarParser(context.limits)
        self._block = b""
        self._base = self._at = 0

    def files(self) -> Iterator[Member]:
        parser = self._parser
        while not parser.ended:
            if not parser.is_mid_entry:
                self._skip_to(parser.position)
            self._base, self._block = self._at, self._source.read(_BLOCK)
            self._at += len(self._block)
            if not self._block:
                parser.finish(self._at)
                return
            for header in parser.feed(memoryview(self._block), self._base):
                if header.kind is EntryKind.FILE and header.size:
                    self._context.budget.member()
                    yield from self._file(header)

    def _skip_to(self, offset: int) -> None:
        """Advance the source to an offset; one within the current block needs nothing."""
        self._source.skip(offset - self._at)
        self._at = max(offset, self._at)

    def _file(self, header: Header) -> Iterator[Member]:
        start = header.offset - self._base
        begun = self._block[start : start + header.size] if start >= 0 else b""
        missing = header.size - len(begun)
        if header.size > WINDOW:
            yield from self._large_file(header, begun, missing)
            return
        body = begun + self._source.read(missing) if missing else begun
        self._at += len(body) - len(begun)
        if len(body) < header.size:
            self._context.skip(header.path, f"breaks off after {len(body)} of {header.size} bytes")
        yield Member(header.path, body)

    def _large_file(self, header: Header, begun: bytes, missing: int) -> Iterator[Member]:
        """Yield a file as a stream: the bytes at hand, then those that are still to be read."""
        consumed = 0
        rest = self._source.part(missing)

        def read_some(count: int) -> bytes:
            nonlocal begun, consumed
            data, begun = begun[:count], begun[count:]
            if not data:
                data = rest.read(min(count, _BLOCK))
                consumed += len(data)
            return data

        body = MemberStream(read_some)
        body.peek(HEAD)  # damage at the start is that of the tar, and noted once
        yield Member(header.path, body, size=header.size)
        self._at += consumed
