"""Documents stored without their secrets: texts that another source has are replaced by references to it.

An image config holds environment variables and commands, and so passwords. The engine that sent the config also states
these texts in its description of the image. A document without them may be cached; with them it is byte for byte the
original, which its digest proves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Piece = str | tuple[int, int]
"""A part of a document: literal text, or a reference: index of the text, index of its form."""

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_PAIR = re.compile(r'"\s*:\s*"')
_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def _go_form(text: str) -> str:
    """Write a string as Go's encoding/json does by default."""
    return json.dumps(text, ensure_ascii=False).translate(_GO_ESCAPES)


def _plain_form(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_FORMS: tuple[Callable[[str], str], ...] = (_go_form, _plain_form, json.dumps)
"""Ways to write a JSON string. Pieces have the index: append only."""


def strings_of(value: Any) -> Iterator[str]:
    """Yield the strings of a JSON value, and the keys of its objects."""
    stack = [value]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case list() as items:
                stack += items
            case dict() as items:
                stack += (*items.keys(), *items.values())


def split_document(document: bytes, texts: Sequence[str]) -> tuple[Piece, ...]:
    """Replace the JSON strings of a document that are among the texts by references."""
    known = {
        form(text): (number, kind)
        for kind, form in reversed(tuple(enumerate(_FORMS)))
        for number, text in enumerate(texts)
    }
    source = document.decode("utf-8", "surrogateescape")
    pieces, literal_from = list[Piece](), 0
    for found in _STRING.finditer(source):
        reference = known.get(found[0])
        if reference is not None:
            pieces += (source[literal_from : found.start()], reference)
            literal_from = found.end()
    return (*pieces, source[literal_from:])


def joined_document(pieces: Sequence[Piece], texts: Sequence[str]) -> bytes:
    """Return the document of pieces. Raises LookupError where the texts are not those it was split by."""
    parts = (piece if isinstance(piece, str) else _FORMS[piece[1]](texts[piece[0]]) for piece in pieces)
    return "".join(parts).encode("utf-8", "surrogateescape")


def literal_text(pieces: Sequence[Piece]) -> str:
    """Return the stored text of pieces, for a search: the document with empty strings, then its `key=value` pairs."""
    source = "".join(piece if isinstance(piece, str) else '""' for piece in pieces)
    return f"{source}\n{_PAIR.sub('=', source)}"
