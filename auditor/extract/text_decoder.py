"""Encoded stretches of a text, encodings within encodings included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from auditor.extract.base64_text import runs
from auditor.extract.escapes import escaped, percent

_SNIFF = 8000  # bytes in which a zero byte means binary data, as for git


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a stretch of a text says. `line` counts from 1 in that text."""

    coding: str
    data: bytes
    line: int


def may_hold_encoded_text(head: bytes) -> bool:
    """Tell whether a file is text, by its first bytes."""
    return b"\0" not in head


def stretches(text: bytes) -> Iterator[Stretch]:
    """Yield the encoded stretches of a text, by encoding, then by place; of binary data none."""
    if text.find(b"\0", 0, _SNIFF) >= 0:
        return
    at = lines = 0
    for start, coding, data in chain(runs(text), percent(text), escaped(text)):
        lines = lines + text.count(b"\n", at, start) if start >= at else text.count(b"\n", 0, start)
        at = start
        if data != text:
            yield Stretch(coding, data, lines + 1)
