"""Masking of the tokens of built-in rules in a text."""

from __future__ import annotations

from auditor.core.cache_folder import cache_folder
from auditor.detect.confirm import Confirmer
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import select


def mask_tokens(text: str) -> str:
    """Mask the tokens in a text."""
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
