"""Text in UTF-16."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.extract.budget import ExtractContext
from auditor.extract.member_stream import Member


def read_little_endian(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield a text in UTF-16LE as UTF-8."""
    return _text(data, context, "utf-16le")


def read_big_endian(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield a text in UTF-16BE as UTF-8."""
    return _text(data, context, "utf-16be")


def _text(data: bytes, context: ExtractContext, coding: str) -> Iterator[Member]:
    text = data[: context.limits.member_bytes].decode(coding, "replace").removeprefix("\ufeff")
    utf8 = text.encode("utf-8", "replace")
    context.budget.spend(len(utf8))
    yield Member(None, utf8, coding, search_text=utf8)
