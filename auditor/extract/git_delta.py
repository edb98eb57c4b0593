"""Deltas of git: copy and insert instructions against a base. Source: gitformat-pack(5), "Deltified representation"."""

from __future__ import annotations


def sizes(delta: bytes) -> tuple[int, int, int]:
    """Return the sizes of base and result, and the offset of the instructions. Raises IndexError."""
    base, at = varint(delta, 0)
    result, at = varint(delta, at)
    return base, result, at


def applied(base: bytes, delta: bytes) -> bytes:
    """Return the result of a delta. Raises ValueError or IndexError where the delta is broken or has another base."""
    base_size, size, at = sizes(delta)
    if base_size != len(base):
        raise ValueError("a delta has another base")
    pieces: list[bytes] = []
    left, end = size, len(delta)
    while at < end:
        op = delta[at]
        at += 1
        if op & 0x80:
            start, length, at = _copy(delta, at, op)
            piece = base[start : start + length]
        else:
            length = op
            piece = delta[at : at + length]
            at += length
        left -= length
        if not length or left < 0 or len(piece) != length:
            raise ValueError("a delta is broken")
        pieces.append(piece)
    if left:
        raise ValueError("a delta ends early")
    return b"".join(pieces)


def _copy(delta: bytes, at: int, op: int) -> tuple[int, int, int]:
    """Read a copy instruction: its bits tell which bytes of offset and size follow, little-endian."""
    start = size = 0
    for bit in range(4):
        if op & 1 << bit:
            start |= delta[at] << 8 * bit
            at += 1
    for bit in range(3):
        if op & 0x10 << bit:
            size |= delta[at] << 8 * bit
            at += 1
    return start, size or 0x10000, at


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Read a little-endian number of seven bits a byte; return it and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number has no end")
