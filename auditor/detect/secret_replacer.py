"""Replacement of many known secrets by their masks, in one pass over each text."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.core.secret import Secret

_KEY_LENGTH = 4
"""Characters of a secret that its index entry consists of."""


class SecretReplacer:
    """Replaces secrets in texts; of several that begin at one character, the longest.

    Secrets are indexed by their first characters, so the time depends on the texts, not on texts times secrets.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        masks = {secret.reveal(): secret.masked for secret in secrets if secret.reveal()}
        self._key_length = min((_KEY_LENGTH, *map(len, masks)))
        self._index: dict[str, dict[int, dict[str, str]]] = {}
        for text in sorted(masks, key=len, reverse=True):
            self._index.setdefault(text[: self._key_length], {}).setdefault(len(text), {})[text] = masks[text]

    def masked(self, text: str) -> str:
        """Return a text with every secret replaced by its mask."""
        if not self._index:
            return text
        pieces, at, done = list[str](), 0, 0
        while at <= len(text) - self._key_length:
            for length, masks in self._index.get(text[at : at + self._key_length], {}).items():
                mask = masks.get(text[at : at + length])
                if mask is not None:
                    pieces += (text[done:at], mask)
                    at = done = at + length
                    break
            else:
                at += 1
        return "".join((*pieces, text[done:]))
