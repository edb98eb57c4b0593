"""Values of a secret's shape that are none: placeholders, samples of documentation, and tokens typed by hand."""

from __future__ import annotations

import re

_MAX_LENGTH = 200
"""Longer secrets are keys and documents, in which such text occurs by chance."""

_PLACEHOLDER = re.compile(
    r"""(?ix)
    x{6}|\*{4}|\.{3}|…|                         # filled up or left out
    your[-_ ]|changeme|replace[-_ ]?me|placeholder|redacted|
    \$\{|\{\{|^<.*>$                            # template"""
)
_SAMPLE = re.compile(
    r"""(?ix)
    (?<![./@])example(?!\.(?:com|org|net))|     # AKIA...EXAMPLE, but not the host example.com
    dummy|0123456789abcdef|
    aBBKDWQvyuVcTPH9EBp|                        # a signature in the documentation of AWS DataSync
    ([^A])\1{8}                                 # one character nine times; "A" is common in base64"""
)


_TYPED = re.compile(
    r"""(?x)
    SAMPLE|FAKE|(?<![_-])TEST(?!_)|[Ss]ample|[Ff]ake|    # but not the prefixes FLWSECK_TEST-, TEST_API_KEY:
    (?i:abcdefgh|ijklmnop|qrstuvwx|zyxwvuts|qwertyui|12345678|98765432)  # runs of the alphabet or keyboard"""
)


def is_typed(token: str) -> bool:
    """Tell whether a person typed a token for a test: real ones are drawn at random."""
    return len(token) < _MAX_LENGTH and _TYPED.search(token) is not None


def is_sample(value: str) -> bool:
    """Tell whether a value is one that documentation shows: a secret by its shape, and made up."""
    return len(value) < _MAX_LENGTH and _SAMPLE.search(value) is not None


def is_placeholder(token: str) -> bool:
    """Tell whether a text of a token's shape stands for another."""
    return len(token) < _MAX_LENGTH and _PLACEHOLDER.search(token) is not None
