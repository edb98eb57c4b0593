"""Sparse files in tar: the body has only the data segments. Source: GNU tar manual, "Storing Sparse Files"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auditor.codec.tar_headers import BLOCK, Header, number, padded
from auditor.core.errors import Damaged

_MAX_SEGMENTS = 1 << 20
_MAX_HOLE = 1 << 20


def real_size(header: Header) -> int:
    """Return the size of the file with its holes, in bytes."""
    if header.block[156:157] == b"S":
        return number(header.block[483:495])
    size = header.pax.get("GNU.sparse.size") or header.pax.get("GNU.sparse.realsize")
    return int(size) if size and header.sparse else header.size


def expanded(header: Header, body: Iterable[bytes], extension: bytes = b"") -> Iterator[bytes]:
    """Yield a sparse file with its holes as zeros, from its body in the tar.

    `extension` are the extra header blocks of the old GNU format. Raises Damaged on an invalid map.
    """
    stream = _Bytes(body)
    size, at = real_size(header), 0
    for offset, length in _segments(header, stream, extension):
        if offset < at or length < 0 or offset + length > size:
            raise Damaged(f"tar: {header.path!r:.100} has an impossible sparse map")
        yield from _zeros(offset - at)
        yield from stream.take(length)
        at = offset + length
    yield from _zeros(size - at)


def _segments(header: Header, stream: _Bytes, extension: bytes) -> list[tuple[int, int]]:
    try:
        if header.block[156:157] == b"S":
            fields = header.block[386:482] + b"".join(
                extension[at : at + 504] for at in range(0, len(extension), BLOCK)
            )
            pairs = [(fields[at : at + 12], fields[at + 12 : at + 24]) for at in range(0, len(fields) - 23, 24)]
            return [(number(first), number(second)) for first, second in pairs if first.strip(b"\0 ")]
        if header.pax.get("GNU.sparse.major") != "1":
            numbers = [int(text) for text in header.pax.get("GNU.sparse.map", "").split(",") if text]
            return list(zip(numbers[::2], numbers[1::2], strict=True))
        return _map_in_body(stream)
    except ValueError:
        raise Damaged(f"tar: {header.path!r:.100} has an invalid sparse map") from None


def _map_in_body(stream: _Bytes) -> list[tuple[int, int]]:
    """Parse the map of format 1.0: decimal numbers, one a line, padded to whole blocks, before the data."""
    used = 0

    def line() -> int:
        nonlocal used
        text = b""
        while not text.endswith(b"\n"):
            text += stream.exactly(1)
            if len(text) > 21:
                raise ValueError
        used += len(text)
        return int(text)

    count = line()
    if count > _MAX_SEGMENTS:
        raise ValueError
    segments = [(line(), line()) for _ in range(count)]
    stream.exactly(padded(used) - used)
    return segments


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        piece = min(count, _MAX_HOLE)
        yield bytes(piece)
        count -= piece


class _Bytes:
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), b""

    def take(self, count: int) -> Iterator[bytes]:
        while count:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    raise Damaged("tar: a sparse file's body is too short")
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            yield piece

    def exactly(self, count: int) -> bytes:
        return b"".join(self.take(count))
