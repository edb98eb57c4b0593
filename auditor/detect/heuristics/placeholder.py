"""What stands in a provider's documentation in place of a token, and has a token's shape."""

from __future__ import annotations

import re

_MAX = 200  # longer secrets are keys and the like
_PLACEHOLDER = re.compile(
    r"(?i)(?<![./@])example(?!\.(?:com|org|net))|x{6}|\*{4}|\.{3}|…|"
    r"your[-_ ]|changeme|replace[-_ ]?me|placeholder|redacted|dummy|\$\{|\{\{|^<.*>$|"
    r"0123456789abcdef|([^A])\1{8}"
)


def is_placeholder(secret: str) -> bool:
    """Whether a text of a token's shape is plainly none."""
    return len(secret) < _MAX and _PLACEHOLDER.search(secret) is not None
