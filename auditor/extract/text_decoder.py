"""Encoded parts of a text: base64, hex, percent signs, escapes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from auditor.core.dataclass import dataclass
from auditor.extract.base64_text import decoded_runs
from auditor.extract.escapes import decoded_escapes, decoded_percent

_SNIFF = 8000  # bytes in which a zero byte means binary data, as for git


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """An encoded part of a text, decoded. `line`, from 1, is where it starts in the text."""

    coding: str
    data: bytes
    line: int


def encoded_parts(text: bytes) -> Iterator[EncodedPart]:
    """Yield the encoded parts of a text, by encoding, then by offset; none of binary data."""
    if text.find(b"\0", 0, _SNIFF) >= 0:
        return
    at = lines = 0
    for start, coding, data in chain(decoded_runs(text), decoded_percent(text), decoded_escapes(text)):
        lines = lines + text.count(b"\n", at, start) if start >= at else text.count(b"\n", 0, start)
        at = start
        if data != text:
            yield EncodedPart(coding, data, lines + 1)
