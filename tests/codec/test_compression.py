"""Compressed streams: what is broken is said to be broken, whichever library notices it."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import random
import weakref
from collections.abc import Callable

import pytest
import zstandard

from auditor.codec.compression import Decompressor, decompressed
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT

CONTENT = random.Random(1).randbytes(3000) + b"abc" * 3000


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lzma.compress, bz2.compress])
def test_a_changed_byte_is_damage_or_goes_unnoticed_and_is_nothing_else(pack: Callable[[bytes], bytes]) -> None:
    packed, noticed = pack(CONTENT), 0
    for at in range(8, len(packed), 7):
        broken = packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]
        try:
            decompressed(io.BufferedReader(io.BytesIO(broken)), DEFAULT).read()
        except Damaged:
            noticed += 1
    assert noticed


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_a_stream_that_ends_early_is_damaged(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(CONTENT)
    with pytest.raises(Damaged):
        decompressed(io.BufferedReader(io.BytesIO(packed[: len(packed) // 2])), DEFAULT).read()


@pytest.mark.parametrize(
    ("kind", "pack"),
    [("gzip", gzip.compress), ("zstd", zstandard.compress), ("xz", lzma.compress), ("bzip2", bz2.compress)],
)
def test_a_decoder_is_freed_without_the_garbage_collector(kind: str, pack: Callable[[bytes], bytes]) -> None:
    gc.disable()  # as in workers; a decoder of xz takes megabytes
    try:
        decoder = Decompressor(kind, io.BytesIO(pack(CONTENT)).read, DEFAULT)
        assert decoder.read(10) == CONTENT[:10]
        alive = weakref.ref(decoder)
        del decoder
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("kind", "pack"), [("gzip", gzip.compress), ("xz", lzma.compress), ("bzip2", bz2.compress)])
def test_members_behind_padding_are_read(kind: str, pack: Callable[[bytes], bytes]) -> None:
    decoder = Decompressor(kind, io.BytesIO(pack(CONTENT) + bytes(70_000) + pack(b"end")).read, DEFAULT)
    assert b"".join(iter(lambda: decoder.read(1 << 16), b"")) == CONTENT + b"end"


def test_bytes_behind_a_bzip2_stream_are_ignored_and_behind_others_damage() -> None:
    assert Decompressor("bzip2", io.BytesIO(bz2.compress(b"a") + b"rest").read, DEFAULT).read(9) == b"a"
    for kind, pack in (("gzip", gzip.compress), ("xz", lzma.compress)):
        decoder = Decompressor(kind, io.BytesIO(pack(b"a") + b"rest").read, DEFAULT)
        assert decoder.read(9) == b"a"
        with pytest.raises(Damaged, match=f"{kind} data is broken after 1 bytes"):
            decoder.read(9)
