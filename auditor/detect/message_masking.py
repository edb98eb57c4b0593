"""Masking of tokens in messages, which may contain names from an image."""

from __future__ import annotations

import re

from auditor.core.errors import without_logins

_LONG = re.compile(r"[\w-]{16,}")
_DIGEST = re.compile(r"\bsha(?:256|512):[0-9a-f]{64,128}\b")


def masked_line(text: str) -> str:
    """Mask the logins of URLs and the tokens of built-in rules in a line.

    A line without a word of a token's length is returned unchanged.
    """
    text = without_logins(text)
    if not _LONG.search(_DIGEST.sub("", text)):
        return text
    # Modules and rules take 0.1 s, which few messages need.
    from auditor.detect.token_masking import mask_tokens

    return mask_tokens(text)
