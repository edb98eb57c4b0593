"""Masking of the secrets of a store in texts of the user, such as a password without the format of a token."""

from __future__ import annotations

import re
from itertools import combinations

from auditor.core.secret import Secret
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lookup import known_secrets

_EDGE = re.compile(r"^|$|(?<=\W)|(?=\W)")
_MASK = "****"


def mask_known_secrets(store: SweepStore, text: str) -> str:
    """Mask the parts of a short text, from one edge of a word to another, that are secrets of the store."""
    edges = [found.start() for found in _EDGE.finditer(text)]
    hmacs = {
        (begin, end): Secret(text[begin:end], "", fingerprint=0).with_hmac(store.key, keep_text=False).hmac
        for begin, end in combinations(edges, 2)
    }
    known = known_secrets(store, hmacs.values())
    pieces, at = list[str](), 0
    for begin, end in sorted(span for span, hmac in hmacs.items() if hmac in known):
        if begin >= at:
            pieces += (text[at:begin], _MASK)
        at = max(at, end)
    return "".join((*pieces, text[at:]))
