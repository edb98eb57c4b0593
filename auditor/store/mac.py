"""Message authentication codes: kept values that only holders of a key can write."""

from __future__ import annotations

import hashlib
import hmac

SIZE = 32
"""Bytes of a tag."""


def mac(key: bytes, *fields: str | bytes) -> bytes:
    """Return the tag of some fields in their order: keyed BLAKE2b, RFC 7693.

    The name of the place where a value is kept is one of its fields, so that no value holds in another place.
    """
    state = hashlib.blake2b(digest_size=SIZE, key=key, person=b"image-audit kept")  # the key has other uses too
    for field in fields:
        data = field.encode("utf-8", "surrogateescape") if isinstance(field, str) else field
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()


def is_authentic(key: bytes, tag: bytes, *fields: str | bytes) -> bool:
    """Whether a tag is that of the fields."""
    return hmac.compare_digest(tag, mac(key, *fields))
