"""Compressed streams: what is broken is said to be broken, whichever library notices it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable

import pytest
import zstandard

from auditor.codec.compression import decompressed
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
