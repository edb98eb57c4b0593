"""Texts of an image as they are shown: whatever a rule takes for a secret is masked in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from auditor.detect.confirm import Match

if TYPE_CHECKING:
    from auditor.scan.scanner import Scanner

_SHORTEST = 8
"""Characters of a text that could hold a secret."""


class TextMasker:
    """Masks the secrets in short texts. Texts that are shown again and again are searched once."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return a text with its secrets masked, those of low confidence too."""
        if len(text) < _SHORTEST:
            return text
        shown = self._known.get(text)
        if shown is None:
            shown = self._known[text] = masked_text(text, self._scanner.scan_text(text))
        return shown


def masked_text(value: str, items: Iterable[Match]) -> str:
    """Replace every secret in a text by its mask."""
    data, pieces, at = value.encode("utf-8", "surrogateescape"), list[bytes](), 0
    for item in sorted(items, key=lambda f: f.start):
        if item.start >= at:
            pieces += (data[at : item.start], item.secret.masked.encode())
            at = item.end
    return b"".join((*pieces, data[at:])).decode("utf-8", "surrogateescape")
