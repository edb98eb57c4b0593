"""Tar, and with it a saved image: its layers are tars in a tar."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.codec.tar import Header, TarParser
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.file_types import HEAD, STREAMED, kind_of
from auditor.extract.member_stream import Member, MemberStream, as_stream
from auditor.layers.windows import WINDOW

_WINDOW = 64 << 10


def tar(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield the files of a tar; of a broken one those before the break."""
    try:
        yield from _Tar(as_stream(body), context).files()
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))


class _Tar:
    """A walk over a tar, a window at a time. `_at` is how far the source was read."""

    def __init__(self, source: MemberStream, context: ExtractContext) -> None:
        self._source, self._context = source, context
        self._walker = TarParser(context.limits)
        self._window = b""
        self._base = self._at = 0

    def files(self) -> Iterator[Member]:
        walker = self._walker
        while not walker.ended:
            if not walker.is_mid_entry:
                self._to(walker.position)
            self._base, self._window = self._at, self._source.read(_WINDOW)
            self._at += len(self._window)
            if not self._window:
                walker.finish(self._at)
                return
            for header in walker.feed(memoryview(self._window), self._base):
                if header.kind is EntryKind.FILE and header.size:
                    self._context.budget.member()
                    yield from self._file(header)

    def _to(self, place: int) -> None:
        """Go to a place at or behind the one that was read up to; within the window nothing is needed."""
        self._source.skip(place - self._at)
        self._at = max(place, self._at)

    def _file(self, header: Header) -> Iterator[Member]:
        start = header.offset - self._base
        have = self._window[start : start + header.size] if start >= 0 else b""
        missing = header.size - len(have)
        if header.size > WINDOW:
            yield from self._large(header, have, missing)
            return
        body = have + self._source.read(missing) if missing else have
        self._at += len(body) - len(have)
        if len(body) < header.size:
            self._context.skip(header.path, f"breaks off after {len(body)} of {header.size} bytes")
        yield Member(header.path, body)

    def _large(self, header: Header, have: bytes, missing: int) -> Iterator[Member]:
        """A large file is read as a stream, but for archives that can't be."""
        read = 0
        rest = self._source.part(missing)

        def some(count: int) -> bytes:
            nonlocal have, read
            got, have = have[:count], have[count:]
            if not got:
                got = rest.read(min(count, _WINDOW))
                read += len(got)
            return got

        body = MemberStream(some)
        kind = kind_of(header.path, body.peek(HEAD))
        if kind is None or kind in STREAMED:
            yield Member(header.path, body)
        elif not self._context.exceeds_member_bytes(header.path, header.size):
            yield Member(header.path, body.read(header.size))
        self._at += read
