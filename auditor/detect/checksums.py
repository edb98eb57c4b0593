"""Checksums in tokens of providers."""

from __future__ import annotations

import hashlib
import string
from zlib import crc32

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def base62_crc32(text: str) -> str:
    """Return the CRC-32 of a text in six base-62 digits, as in GitHub and npm tokens."""
    rest, digits = crc32(text.encode()), ""
    while rest:
        rest, digit = divmod(rest, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(6, "0")


AZURE_SEEDS = {
    "+ASt": ("Default0",),
    "ACDb": ("MastRO00", "MastRW00", "SysAll00", "SystRO00", "SystRW00", "Resour00", "Encryp00"),
    "+ABa": ("AbAcct00",),
    "+AMC": ("Classic0",),
    "APIM": ("Tenant00", "IoTHub00", "Gatewy00", "GitKey00"),
    "AzFu": ("Functi00", "Master00", "System00"),
    "AzSe": ("Query000", "PAdmin00"),
    "+ACR": ("ACRDflt0",),
    "+AEh": ("Send0000", "Listen00", "Manage00", "System00", "Unknown0"),
    "+ASb": ("Send0000", "Listen00", "Manage00", "System00", "Unknown0"),
    "+ARm": ("Send0000", "Listen00", "Manage00", "System00", "Unknown0"),
    "AIoT": ("IoTHub00", "DpsKey00", "Device00"),
    "AZEG": ("Default0",),
    "AzCa": ("Access00",),
}
"""Signatures of Azure identifiable keys, and the seeds of their checksums: microsoft/security-utilities."""

AZURE_SECRET_DIGITS = string.ascii_letters + "1234567890.-_~"


def marvin32(data: bytes, seed: str) -> int:
    """Return the Marvin hash, folded to 32 bits, as .NET computes it: System.Marvin in dotnet/runtime."""
    high, low = (int.from_bytes(seed.encode()[at : at + 4], "big") for at in (0, 4))
    padded = data + b"\x80" + bytes(-(len(data) + 1) % 4 + 4)
    for at in range(0, len(padded), 4):
        low = (low + int.from_bytes(padded[at : at + 4], "little")) & 0xFFFFFFFF
        high ^= low
        low = (_rotated(low, 20) + high) & 0xFFFFFFFF
        high = _rotated(high, 9) ^ low
        low = (_rotated(low, 27) + high) & 0xFFFFFFFF
        high = _rotated(high, 19)
    return low ^ high


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & 0xFFFFFFFF


def azure_secret_checksum(text: str) -> str:
    """Return the last three characters of an Entra ID client secret, given the text before them."""
    number, digits = marvin32(text.encode(), "AadPwd00"), ""
    while number:
        number, digit = divmod(number, len(AZURE_SECRET_DIGITS))
        digits = AZURE_SECRET_DIGITS[digit] + digits
    return digits[:3]


def azure_pat_checksum(data: bytes | bytearray) -> int:
    """Return the CRC-32 in the bytes 2, 7, 8 and 22 of an old Azure DevOps token."""
    return crc32(data[:2] + data[3:7] + data[9:22] + data[23:32])


BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(data: bytes) -> str:
    """Return bytes and their checksum in base58, as Bitcoin writes keys: Bitcoin wiki, Base58Check encoding."""
    checked = data + base58_checksum(data)
    number, digits = int.from_bytes(checked, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return "1" * (len(checked) - len(checked.lstrip(b"\0"))) + digits


def base58_checksum(data: bytes) -> bytes:
    """Return the first four bytes of the double SHA-256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]


def crc16_xmodem(data: bytes) -> int:
    """Return the CRC-16 with the polynomial 0x1021 and the initial value 0, as Stellar keys have it: SEP-23."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc
