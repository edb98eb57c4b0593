"""Secrets that print masked, compare by HMAC and can't be serialised."""

from __future__ import annotations

import hashlib
import hmac

FINGERPRINT_BITS = 20
"""Bits of a secret's digest in the id of a finding: enough to tell a rotated secret, too few to test a guess of it."""


class Secret:
    """A secret, which prints masked.

    A new secret holds its text. Once its layer is read, `with_hmac` replaces the text by an HMAC, unless the user asked
    for whole secrets. Secrets with equal HMACs are equal.
    """

    __slots__ = ("_text", "fingerprint", "hmac", "masked")

    def __init__(self, text: str | None, masked: str, fingerprint: int | None = None, hmac: bytes = b"") -> None:
        """Without a text, `fingerprint` and `hmac` are required, as `with_hmac` makes them."""
        self._text = text
        self.masked = masked
        self.fingerprint = fingerprint_of(text or "") if fingerprint is None else fingerprint
        self.hmac = hmac

    def reveal(self) -> str:
        """Return the whole secret, for --show-secrets, --verify and masking. Raises ValueError without a text."""
        if self._text is None:
            raise ValueError("the text of the secret was removed")
        return self._text

    def with_hmac(self, key: bytes, *, keep_text: bool) -> Secret:
        """Return the secret with an HMAC: only holders of `key` can test a guess against it."""
        if self._text is None:
            return self
        text = self._text.encode("utf-8", "surrogatepass")
        digest = hmac.digest(key, text, "sha256")[:16]
        return Secret(self._text if keep_text else None, self.masked, self.fingerprint, digest)

    def __repr__(self) -> str:
        return f"Secret({self.masked})"

    def __str__(self) -> str:
        return self.masked

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self.hmac and other.hmac:
            return self.hmac == other.hmac
        return self._text is not None and self._text == other._text

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never serialised")


def fingerprint_of(text: str) -> int:
    """Return the first FINGERPRINT_BITS of a text's SHA-256."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:3], "big") >> (24 - FINGERPRINT_BITS)
