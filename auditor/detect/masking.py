"""Masks for many secrets in many texts, in one pass over each text."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.core.secret import Secret

_KEY = 4


class Masker:
    """Replaces secrets wherever they stand, of several that begin at one character the longest.

    They are found by their first characters, so that the time goes by the texts, not by texts times secrets.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        plain = {secret.reveal(): secret.masked for secret in secrets if secret.reveal()}
        self._width = min((_KEY, *map(len, plain)))
        self._by_start: dict[str, dict[int, dict[str, str]]] = {}
        for text in sorted(plain, key=len, reverse=True):
            self._by_start.setdefault(text[: self._width], {}).setdefault(len(text), {})[text] = plain[text]

    def masked(self, text: str) -> str:
        """Return a text without the secrets."""
        if not self._by_start:
            return text
        pieces, at, done = list[str](), 0, 0
        while at <= len(text) - self._width:
            for length, masks in self._by_start.get(text[at : at + self._width], {}).items():
                mask = masks.get(text[at : at + length])
                if mask is not None:
                    pieces += (text[done:at], mask)
                    at = done = at + length
                    break
            else:
                at += 1
        return "".join((*pieces, text[done:]))
