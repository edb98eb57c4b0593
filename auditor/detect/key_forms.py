"""Structure of private keys in DER and in OpenSSH's own format.

Only the form is tested: sequences, integers and lengths, and for RSA the product of the primes. No number is tested for
primality and no public key is derived, so the time is linear in the key size but for that product. A library that loads
a key takes 4 s for RSA of 8,192 bits, and 120 ms for Diffie-Hellman.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

OPENSSH = b"openssh-key-v1\0"

_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_FIRST, _SECOND = 0xA0, 0xA1  # context tags [0] and [1] of a constructed value
_SECOND_PLAIN = 0x81
# rsaEncryption and id-RSASSA-PSS: RFC 8017, A.1 and A.2.3.
_RSA = (bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a"))
_EC = bytes.fromhex("2a8648ce3d0201")
# X25519, X448, Ed25519, Ed448: RFC 8410, 3 and 7.
_SEEDS = {bytes.fromhex("2b656e"): 32, bytes.fromhex("2b656f"): 56, bytes.fromhex("2b6570"): 32}
_SEEDS[bytes.fromhex("2b6571")] = 57
# Number of fields of a private key after its type, comment excluded: OpenSSH, PROTOCOL.key and PROTOCOL.u2f.
_FIELDS = {
    b"ssh-rsa": 6,
    b"ssh-dss": 5,
    b"ssh-ed25519": 2,
    b"ecdsa-sha2-nistp256": 3,
    b"ecdsa-sha2-nistp384": 3,
    b"ecdsa-sha2-nistp521": 3,
}
_MAX_ITEMS = 16  # of a sequence; no form has more than nine

_Item = tuple[int, bytes]
"""Tag and content of a DER value."""


def is_der_key(data: bytes) -> bool:
    """Tell whether data is a private key in the form of PKCS #1, PKCS #8, SEC 1, or OpenSSL's DSA.

    A PKCS #8 key of an unknown algorithm passes by its outer structure.
    """
    try:
        ((tag, content),) = _items(data)
        return tag == _SEQUENCE and _is_key(_items(content))
    except (ValueError, IndexError):
        return False


def is_openssh_key(data: bytes) -> bool:
    """Tell whether data is an OpenSSH private key without a passphrase: PROTOCOL.key of OpenSSH."""
    try:
        return _is_openssh(data)
    except (struct.error, ValueError):
        return False


def _items(data: bytes) -> list[_Item]:
    """Split consecutive DER values: X.690, 8.1 and 10.1. Raises ValueError or IndexError on other data."""
    items: list[_Item] = []
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            if not 0 < count <= 4 or at + count > len(data):
                raise ValueError("a length is out of range")
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data) or len(items) == _MAX_ITEMS:
            raise ValueError("a value goes beyond the end")
        items.append((tag, data[at : at + size]))
        at += size
    return items


def _is_key(items: Sequence[_Item]) -> bool:
    match [tag for tag, _ in items]:
        case [0x02, 0x30, 0x04, *rest] if set(rest) <= {_FIRST, _SECOND, _SECOND_PLAIN}:  # PKCS #8, RFC 5958, 2
            return _is_pkcs8(items[1][1], items[2][1])
        case [0x02, 0x04, *rest] if set(rest) <= {_FIRST, _SECOND}:  # SEC 1, RFC 5915, 3
            return items[0][1] == b"\1" and len(items[1][1]) > 0
        case [0x02, 0x02, 0x02, 0x02, 0x02, 0x02]:  # DSA as OpenSSL writes it: version, p, q, g, y, x
            _, p, q, g, y, x = _numbers(items)
            return 1 < g < p and q < p and 0 < y < p and 0 < x < q
        case [0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, *rest] if rest in ([], [_SEQUENCE]):
            return _is_rsa(_numbers(items[:9]), bool(rest))
    return False


def _is_rsa(numbers: Sequence[int], more_primes: bool) -> bool:
    """Test the numbers of an RSA key: version, n, e, d, p, q, d mod (p-1), d mod (q-1), 1/q mod p. RFC 8017, A.1.2."""
    version, n, e, d, p, q, *rest = numbers
    if min(n, e, d, p, q, *rest) <= 0 or e & 1 == 0 or version != int(more_primes):
        return False
    # Lengths are compared first, so the product is not larger than the key.
    return more_primes or (p.bit_length() + q.bit_length() - n.bit_length() in (0, 1) and n == p * q)


def _numbers(items: Sequence[_Item]) -> list[int]:
    return [int.from_bytes(content, "big", signed=True) for _, content in items]


def _is_pkcs8(algorithm: bytes, key: bytes) -> bool:
    (tag, oid), *_ = _items(algorithm)
    if tag != _OID:
        return False
    if oid in _RSA or oid == _EC:
        ((tag, content),) = _items(key)
        own = _items(content) if tag == _SEQUENCE else []
        least, second = (9, _INTEGER) if oid in _RSA else (2, _OCTETS)
        return len(own) >= least and own[1][0] == second and _is_key(own)
    if oid in _SEEDS:
        return _items(key) == [(_OCTETS, key[2:])] and len(key) == 2 + _SEEDS[oid]
    return bool(key)


def _is_openssh(data: bytes) -> bool:
    cipher, at = _string(data, len(OPENSSH))
    derivation, at = _string(data, at)
    _, at = _string(data, at)
    (count,) = struct.unpack_from(">I", data, at)
    public, at = _string(data, at + 4)
    private, at = _string(data, at)
    if not data.startswith(OPENSSH) or (cipher, derivation, count) != (b"none", b"none", 1) or at != len(data):
        return False
    first, second = struct.unpack_from(">II", private)
    kind, at = _string(private, 8)
    if first != second or kind != _string(public, 0)[0]:
        return False
    if kind not in _FIELDS:
        return True
    for _ in range(_FIELDS[kind] + 1):  # the last is the comment
        _, at = _string(private, at)
    padding = private[at:]
    return len(padding) < 256 and padding == bytes(range(1, len(padding) + 1))


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a length-prefixed string; return it and the offset behind it. RFC 4251, 5."""
    (size,) = struct.unpack_from(">I", data, at)
    if size > len(data) - at - 4:
        raise ValueError("a string goes beyond the end")
    return data[at + 4 : at + 4 + size], at + 4 + size
