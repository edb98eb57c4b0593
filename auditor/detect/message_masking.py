"""Masking of tokens in messages, which may contain names from an image."""

from __future__ import annotations

import re

from auditor.core.cache_folder import cache_folder
from auditor.core.errors import without_logins
from auditor.detect.confirm import Confirmer
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import select

_LONG = re.compile(r"[\w-]{16,}")
_DIGEST = re.compile(r"\bsha(?:256|512):[0-9a-f]{64,128}\b")


def masked_line(text: str) -> str:
    """Mask the logins of URLs and the tokens of built-in rules in a line.

    Loading the rules takes 0.1 s, so a line without a word of a token's length is returned unchanged.
    """
    text = without_logins(text)
    if not _LONG.search(_DIGEST.sub("", text)):
        return text
    lowered = text.lower()
    near = [
        rule
        for rule in cached_builtin_rules(cache_folder())
        if rule.is_token and not rule.paths and any(word.lower() in lowered for word in rule.keywords)
    ]
    if not near:
        return text
    rules = select(near)
    data, pieces, at = text.encode("utf-8", "surrogateescape"), list[bytes](), 0
    for found in Confirmer(rules).confirm(data, (), "", range(len(rules.rules))):
        pieces += (data[at : found.start], found.secret.masked.encode())
        at = found.end
    return b"".join((*pieces, data[at:])).decode("utf-8", "surrogateescape")
