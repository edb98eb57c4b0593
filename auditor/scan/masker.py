"""Masks for the secrets in texts of an image that are shown to the user."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.detect.matches import Match
from auditor.scan.searcher import Searcher

_SHORTEST = 8
"""Characters of the shortest text that is searched."""


class TextMasker:
    """Masks the secrets in short texts. A text that is shown repeatedly is searched once."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._masked: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return a text with its secrets masked, those of low confidence included."""
        if len(text) < _SHORTEST:
            return text
        masked = self._masked.get(text)
        if masked is None:
            masked = self._masked[text] = masked_text(text, self._searcher.search_text(text))
        return masked


def masked_text(value: str, items: Iterable[Match]) -> str:
    """Replace every match in a text by its mask."""
    data, pieces, position = value.encode("utf-8", "surrogateescape"), list[bytes](), 0
    for item in sorted(items, key=lambda match: match.start):
        if item.start >= position:
            pieces += (data[position : item.start], item.secret.masked.encode())
            position = item.end
    return b"".join((*pieces, data[position:])).decode("utf-8", "surrogateescape")
