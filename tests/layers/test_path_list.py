"""Paths in packed blocks: the same as a list of strings."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.layers.path_list import PathList

# As they are decoded from a tar: bytes that are not UTF-8 are lone surrogates. A PAX record may contain any byte.
PATHS = st.lists(st.text(st.characters(codec=None), max_size=12), max_size=8)


def paths(first: int, count: int) -> list[str]:
    return [f"usr/lib/package-{number // 20}/file-{number}" for number in range(first, first + count)]


@given(st.lists(PATHS, max_size=5), st.lists(st.sampled_from(["append", "extend", "pack", "unpack", "pickle"])))
def test_it_is_a_list_whatever_is_packed(parts: Sequence[list[str]], steps: Sequence[str]) -> None:
    made, want = PathList(), list[str]()
    for at, some in enumerate(parts):
        for step in steps[at :: len(parts)]:
            if step == "append":
                made.append(step)
                want.append(step)
            elif step == "pickle":
                made = pickle.loads(pickle.dumps(made))
            elif step != "extend":
                getattr(made, step)()
        made.extend(PathList(some))
        want += some
    assert list(made) == want == [made[index] for index in range(len(made))]
    assert made == PathList(want) and made != PathList([*want, "more"])


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 2_000])
def test_a_part_of_it_is_a_list(count: int) -> None:
    want = [*paths(0, count), "a\0b", "\udce9", *paths(count, 30)]
    made = PathList(want[:-30])
    made.pack()
    for path in want[-30:]:
        made.append(path)
    for part in (slice(None), slice(3, 700), slice(505, 520), slice(-40, None), slice(None, None, 7), slice(9, 2, -1)):
        assert made[part] == want[part]
    assert made[-1] == want[-1] and made[-31] == "\udce9"
    for index in (len(want), -len(want) - 1):
        with pytest.raises(IndexError):
            made[index]


def test_packed_paths_take_a_fraction_of_the_memory() -> None:
    want = paths(0, 20_000)
    made = PathList(want)
    assert len(pickle.dumps(made)) < len(pickle.dumps(want)) / 10
