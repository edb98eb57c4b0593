"""Message authentication codes of cached values: only holders of the key can write a valid one."""

from __future__ import annotations

import hashlib
import hmac

SIZE = 32
"""Length of a tag, in bytes."""


def mac(key: bytes, *fields: str | bytes) -> bytes:
    """Return the tag of some fields in their order: keyed BLAKE2b, RFC 7693.

    The table of a value is one of its fields, so that a copy of the value in another table is invalid.
    """
    state = hashlib.blake2b(
        digest_size=SIZE, key=key, person=b"image-audit kept"
    )  # secrets have HMACs under this key too
    for field in fields:
        data = field.encode("utf-8", "surrogateescape") if isinstance(field, str) else field
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()


def is_authentic(key: bytes, tag: bytes, *fields: str | bytes) -> bool:
    """Whether a tag belongs to the fields."""
    return hmac.compare_digest(tag, mac(key, *fields))
