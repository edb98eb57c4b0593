"""Message authentication codes: kept values that only holders of a key can write."""

from __future__ import annotations

import hashlib
import hmac

SIZE = 32
"""Bytes of a code."""


def mac(key: bytes, *fields: str | bytes) -> bytes:
    """Return the code of some fields in their order: keyed BLAKE2b, RFC 7693.

    The name of the place where a value is kept is one of its fields, so that no value holds in another place.
    """
    code = hashlib.blake2b(digest_size=SIZE, key=key, person=b"image-audit kept")  # the key has other uses too
    for field in fields:
        data = field.encode("utf-8", "surrogateescape") if isinstance(field, str) else field
        code.update(len(data).to_bytes(8, "big"))
        code.update(data)
    return code.digest()


def is_authentic(key: bytes, code: bytes, *fields: str | bytes) -> bool:
    """Whether a code is that of the fields."""
    return hmac.compare_digest(code, mac(key, *fields))
