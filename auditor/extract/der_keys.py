"""Private keys in DER, as `openssl pkcs8 -outform DER` writes them: as PEM, which the rules match.

A key has the same text whether it stands in DER, in base64, in hex or in PEM, so it is one secret in all of them.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from auditor.extract.budget import ExtractContext
from auditor.extract.member_stream import Member

_MAX_BYTES = 64 << 10
"""Bytes of the longest key: RSA of 16,384 bits takes 9 KB."""
# A sequence that begins with version 0 or 1 and an algorithm, version 0 and a number, version 1 and a string, or the
# algorithm of an encryption with a passphrase: PKCS #8 (RFC 5958, 2), PKCS #1 (RFC 8017, A.1.2), SEC 1 (RFC 5915, 3),
# EncryptedPrivateKeyInfo (RFC 5958, 3) by PKCS #5 or PKCS #12 (RFC 8018, A; RFC 7292, C).
_PRIVATE = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)"
    rb"(?:(\x02\x01[\x00\x01]\x30)|(\x02\x01\x00\x02)|(\x02\x01\x01\x04)"
    rb"|(\x30[\x10-\x7f]\x06[\x09\x0a]\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05|\x0c\x01)))",
    re.DOTALL,
)
_LABELS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")


def is_der_key(_: str, head: bytes) -> bool:
    """Tell whether a file is a private key in DER, by its first bytes; its path does not matter."""
    return head[:1] == b"0" and _PRIVATE.match(head) is not None


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the bytes of a file, which may be an archive's member, and a private key in DER as PEM.

    The bytes are searched too: other data may begin like a key, and a key may have attributes.
    """
    context.budget.spend(len(data))
    yield Member(None, data, "der", search_text=data)
    size = _size(data)
    is_whole = len(data) <= _MAX_BYTES and size <= len(data) and not data[size:].strip(b"\r\n")
    if is_whole and (pem := as_pem(data[:size])):
        context.budget.spend(len(pem))
        yield Member(None, pem, "der", search_text=pem)


def as_pem(key: bytes) -> bytes | None:
    """Return a private key in DER as PEM (RFC 7468), the label by its form; None for other data."""
    form = _PRIVATE.match(key)
    if form is None:
        return None
    label = _LABELS[(form.lastindex or 1) - 1]
    body = binascii.b2a_base64(key, newline=False)
    lines = b"\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label, lines, label)


def _size(data: bytes) -> int:
    """Return the length of a DER value with its header, as the header says: X.690, 8.1.3."""
    count = data[1] & 0x7F if data[1] & 0x80 else 0
    return 2 + count + (int.from_bytes(data[2 : 2 + count], "big") if count else data[1])
