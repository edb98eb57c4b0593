"""Newlines before many matches are counted once, and not for each match from the beginning."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from auditor.codec.windows import windows
from auditor.layers.listing import plain_file
from auditor.scan.line_counter import LineCounter
from auditor.scan.search_text import SearchText

LINES = b"word\n" * 2000
looked: list[int] = []
"""Bytes that each count looked at."""


class Counted(bytes):
    def count(self, newline: bytes, start: int, end: int) -> int:  # type: ignore[override]
        looked.append(end - start)
        return bytes(self[start:end]).count(newline)


class CountedBuffer(bytearray):
    def count(self, newline: bytes, start: int, end: int) -> int:  # type: ignore[override]
        looked.append(end - start)
        return bytes(self[start:end]).count(newline)


@pytest.fixture(autouse=True)
def nothing_looked_at() -> None:
    looked.clear()


def test_of_a_member() -> None:
    lines = SearchText(Counted(LINES), "").lines(range(0, len(LINES), 5))
    assert list(lines) == list(range(1, 2001))
    assert sum(looked) <= len(LINES)


def test_of_a_file_in_a_window() -> None:
    listing = plain_file("a", len(LINES))
    (read,) = windows(io.BytesIO(LINES))
    window, counter = replace(read, buffer=CountedBuffer(read.buffer)), LineCounter(listing)
    assert [counter.line(window, 0, place) for place in range(0, len(LINES), 5)] == list(range(1, 2001))
    assert sum(looked) <= len(LINES)


def test_places_that_do_not_rise_are_counted_too() -> None:
    listing = plain_file("a", len(LINES))
    (window,) = windows(io.BytesIO(LINES))
    counter = LineCounter(listing)
    assert [counter.line(window, 0, place) for place in (50, 10, 10, 9999)] == [11, 3, 3, 2000]
