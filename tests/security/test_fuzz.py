"""The targets of `make fuzz`, by hypothesis, and what fuzzing found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.codec.tar import Walker
from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from tests.hostile.case import END, entry

SEEDS = seeds()


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_target_breaks(name: str, data: st.DataObject) -> None:
    text = bytearray(data.draw(st.sampled_from(SEEDS[name])))
    for at, new in data.draw(st.lists(st.tuples(st.integers(0, 8000), st.binary(max_size=8)), max_size=6)):
        text[at % len(text) : at % len(text) + len(new)] = new
    TARGETS[name](bytes(text[: data.draw(st.integers(1, len(text)))]))


@pytest.mark.parametrize("cut", [1536, 1600, 2048, 2100, 2560])
def test_a_lone_zero_block_at_the_end_of_a_piece_hides_no_entry(cut: int) -> None:
    tar = entry(b"a", b"x" * 600) + bytes(512) + entry(b"b", b"y") + END
    walker = Walker()
    paths = [
        header.path for at, end in ((0, cut), (cut, len(tar))) for header in walker.feed(memoryview(tar)[at:end], at)
    ]
    assert paths == ["a", "b"]
