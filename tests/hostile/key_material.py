"""Private keys of any size that have the form of their kind, made in no time: their numbers are odd, and not prime.

None is a key that works.
"""

from __future__ import annotations

import base64
import random
import struct

RSA, DSA, DH, EC, ED25519 = "2a864886f70d010101", "2a8648ce380401", "2a864886f70d010301", "2a8648ce3d0201", "2b6570"
P384 = "2b81040022"


def tlv(tag: int, content: bytes) -> bytes:
    """A DER value."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sequence(*items: bytes) -> bytes:
    return tlv(0x30, b"".join(items))


def oid(digits: str) -> bytes:
    return tlv(0x06, bytes.fromhex(digits))


def odd(bits: int, seed: int) -> int:
    """A number of exactly so many bits."""
    return random.Random(seed).getrandbits(bits) | 1 << (bits - 1) | 1


def rsa_numbers(bits: int, seed: int) -> tuple[int, ...]:
    """n, e, d, p, q, d mod (p-1), d mod (q-1), 1/q mod p: as many bits as a key has."""
    p, q, d = odd(bits // 2, seed), odd(bits // 2, seed + 1), odd(bits - 2, seed + 2)
    return p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), odd(bits // 2 - 1, seed + 3)


def rsa(bits: int, seed: int = 0) -> bytes:
    """PKCS #1."""
    return sequence(integer(0), *map(integer, rsa_numbers(bits, seed)))


def pkcs8(algorithm: bytes, key: bytes) -> bytes:
    return sequence(integer(0), algorithm, tlv(0x04, key))


def rsa_pkcs8(bits: int, seed: int = 0) -> bytes:
    return pkcs8(sequence(oid(RSA), tlv(0x05, b"")), rsa(bits, seed))


def dsa(bits: int, seed: int = 0) -> bytes:
    """DSA as OpenSSL writes it."""
    p, q, x = odd(bits, seed), odd(256, seed + 1), odd(255, seed + 2)
    g, y = odd(bits - 1, seed + 3), odd(bits - 1, seed + 4)
    return sequence(integer(0), *map(integer, (p, q, g, y, x)))


def dsa_pkcs8(bits: int, seed: int = 0) -> bytes:
    """PKCS #8 holds no public number of DSA: a library derives it."""
    domain = sequence(integer(odd(bits, seed)), integer(odd(256, seed + 1)), integer(odd(bits - 1, seed + 2)))
    return pkcs8(sequence(oid(DSA), domain), integer(odd(255, seed + 3)))


def dh_pkcs8(bits: int, seed: int = 0) -> bytes:
    group = sequence(integer(odd(bits, seed)), integer(2))
    return pkcs8(sequence(oid(DH), group), integer(odd(bits - 1, seed + 1)))


def ec(seed: int = 0) -> bytes:
    """SEC 1, on P-384."""
    chance = random.Random(seed)
    return sequence(
        integer(1),
        tlv(0x04, chance.randbytes(48)),
        tlv(0xA0, oid(P384)),
        tlv(0xA1, tlv(0x03, b"\0\4" + chance.randbytes(96))),
    )


def ec_pkcs8(seed: int = 0) -> bytes:
    return pkcs8(sequence(oid(EC), oid(P384)), ec(seed))


def ed25519(seed: int = 0) -> bytes:
    return pkcs8(sequence(oid(ED25519)), tlv(0x04, random.Random(seed).randbytes(32)))


def openssh(bits: int, seed: int = 0) -> bytes:
    """An RSA key in OpenSSH's form, without a passphrase."""
    n, e, d, p, q, *_, inverse = rsa_numbers(bits, seed)
    public = _string(b"ssh-rsa") + _number(e) + _number(n)
    private = struct.pack(">II", 7, 7) + _string(b"ssh-rsa")
    private += b"".join(map(_number, (n, e, d, inverse, p, q))) + _string(b"comment")
    private += bytes(range(1, 1 + -len(private) % 8))
    head = b"openssh-key-v1\0" + _string(b"none") * 2 + _string(b"") + struct.pack(">I", 1)
    return head + _string(public) + _string(private)


def certificate(bits: int, depth: int, seed: int = 0) -> bytes:
    """A certificate whose subject nests so deep, with a key of so many bits."""
    name = oid("550403")
    for _ in range(depth):
        name = sequence(name)
    key = sequence(sequence(oid(RSA)), tlv(0x03, b"\0" + sequence(integer(odd(bits, seed)), integer(65537))))
    body = sequence(integer(seed), name, key)
    return sequence(body, sequence(oid(RSA)), tlv(0x03, b"\0" + odd(bits, seed + 1).to_bytes(bits // 8, "big")))


def pem(label: str, data: bytes) -> bytes:
    body = base64.b64encode(data).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _number(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))
