"""Frames of Zstandard decoded in parallel: the same bytes as one after another, whatever their form."""

from __future__ import annotations

import io
import itertools
import random
import struct
from collections.abc import Callable

import pytest
import zstandard

from auditor.codec.compression import decompressed
from auditor.codec.zstd_frames import ZstdFrames, frame_size, frame_stream
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT

MEMORY = 8 << 20
SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"index"
CHANCE = random.Random(7)
SMALL = [CHANCE.randbytes(size) + b"text " * size for size in (1, 10, 300, 70_000, 500_000)]


def frame(content: bytes, *, size: bool = True, checksum: bool = False) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=size, write_checksum=checksum).compress(content)


def parallel(data: bytes) -> bytes:
    frames = ZstdFrames(io.BytesIO(data).read, MEMORY, 3)
    return b"".join(iter(lambda: frames.read(100_000), b""))


STREAMS = {
    "many": b"".join(map(frame, SMALL * 5)),
    "checksums": b"".join(frame(content, checksum=True) for content in SMALL),
    "skippable frames": SKIPPABLE + b"".join(frame(content) + SKIPPABLE for content in SMALL),
    "no sizes": b"".join(frame(content, size=False) for content in SMALL),
    "a large frame in the middle": frame(SMALL[2]) + frame(bytes(6 << 20)) + frame(SMALL[3]),
    "no content": frame(b"") + frame(SMALL[1]),
    "one byte repeated": frame(bytes(1 << 20)) + frame(b"end"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", STREAMS)
def test_frames_give_the_same_bytes_in_parallel(name: str) -> None:
    data = STREAMS[name]
    assert parallel(data) == frame_stream(io.BytesIO(data).read, MEMORY).read()


@pytest.mark.parametrize("checksum", [False, True])
def test_the_size_of_a_frame_is_that_of_all_its_blocks(checksum: bool) -> None:
    for content in (*SMALL, b"", bytes(400_000)):
        packed = frame(content, checksum=checksum)
        assert frame_size(packed + b"more") == len(packed)
        assert all(frame_size(packed[:end]) is None for end in (0, 3, 5, len(packed) - 1))
    assert frame_size(SKIPPABLE + b"more") == len(SKIPPABLE)


def damage_of(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    changed = bytearray(data)
    change(changed)
    return bytes(changed)


def test_damage_in_any_frame_is_reported() -> None:
    packed = [frame(content, checksum=True) for content in SMALL]
    for number in range(len(packed)):
        broken = [*packed]
        broken[number] = damage_of(packed[number], lambda data: data.__setitem__(-1, data[-1] ^ 1))
        with pytest.raises(Damaged, match="zstd data is broken"):
            decompressed(io.BufferedReader(io.BytesIO(b"".join(broken))), DEFAULT).read()


def test_random_damage_never_does_more_than_raise() -> None:
    data = STREAMS["skippable frames"]
    for seed in range(60):
        chance = random.Random(seed)
        changed = bytearray(data[: chance.randrange(len(data))] if seed % 3 == 0 else data)
        for _ in range(seed % 4):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        outcomes = []
        for read in (parallel, lambda packed: frame_stream(io.BytesIO(packed).read, MEMORY).read()):
            try:
                outcomes.append(read(bytes(changed)))
            except zstandard.ZstdError:
                outcomes.append(b"")
        short, long = sorted(outcomes, key=len)  # of a frame that ends early, one may return more bytes
        assert long.startswith(short)


def test_a_frame_of_many_blocks_is_decoded_as_a_stream() -> None:
    repeated = b"".join(bytes((2 | 8 << 0, 0, 0)) + b"x" for _ in range(5000))  # blocks of one repeated byte
    head = frame(bytes(5001))[: zstandard.frame_header_size(frame(bytes(5001)))]
    packed = head + repeated + bytes((2 | 8 | 1, 0, 0)) + b"x"
    assert frame_size(packed) is None
    assert parallel(packed + frame(b"end")) == b"x" * 5001 + b"end"


def test_input_is_read_in_steps_and_few_tasks_ahead() -> None:
    taken = itertools.accumulate(itertools.repeat(1))
    source, reads = io.BytesIO(b"".join(frame(CHANCE.randbytes(1 << 20)) for _ in range(40))), [0]

    def take(count: int) -> bytes:
        reads[0] = next(taken)
        return source.read(count)

    frames = ZstdFrames(take, MEMORY, 3)
    assert frames.read(10)
    assert reads[0] * (64 << 10) < 8 << 20
