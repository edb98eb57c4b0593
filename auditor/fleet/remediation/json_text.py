"""Text of JSON documents with long lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_AT_ONCE = 100  # items of one part of the text


def document_text(members: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Yield the text of a JSON object, in parts: a list that is an iterator is not in memory all at once.

    Each item of such a list is one line: the encoder without an indent is faster.
    """
    separator = "{\n"
    for key, value in members:
        yield f"{separator}  {json.dumps(key)}: "
        yield from _list_text(value) if isinstance(value, Iterator) else (_indented(value),)
        separator = ",\n"
    yield "\n}\n"


def _list_text(items: Iterator[Any]) -> Iterator[str]:
    separator = "[\n"
    while batch := list(islice(items, _AT_ONCE)):
        yield separator + ",\n".join(f"    {json.dumps(item)}" for item in batch)
        separator = ",\n"
    yield "[]" if separator == "[\n" else "\n  ]"


def _indented(value: Any) -> str:
    """Return the value of a member as JSON, its further lines indented."""
    return json.dumps(value, indent=2).replace("\n", "\n  ")
