"""Offline checks of private keys, logins in base64, and values of Kubernetes Secrets."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from auditor.detect.key_forms import OPENSSH, is_der_key, is_openssh_key

_ARMOUR = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]{0,40})-----")
_HEADER = re.compile(r"^(?:Proc-Type|DEK-Info|Comment|Version|Hash|Charset):.*$", re.MULTILINE)
_OPENING_QUOTE = re.compile(r"\+?[ \t]*[\"']")


def private_key(text: str) -> bool | None:
    """Test the structure of a private key: True also for an encrypted one, None for a cut or unknown one."""
    _, body = _dearmour(text)
    if "-----END" not in text:
        return None
    if body is None or len(body) < 40 or len(set(body)) < 20:
        return False
    if body.startswith(OPENSSH):
        return True if b"none" not in body[:23] or is_openssh_key(body) else None
    if "ENCRYPTED" in text:
        return True if "Proc-Type" in text or body[0] == 0x30 else None
    # PKCS#1, PKCS#8 and SEC1 are each one DER SEQUENCE, of at least 128 bytes but for the shortest kinds: X.690, 8.1.3.
    if body[0] == 0x30 and body[1] in (0x81, 0x82) and _der_length(body) != len(body):
        return False
    return True if body[0] == 0x30 and is_der_key(body) else None


def _der_length(body: bytes) -> int:
    count = body[1] & 0x7F
    return 2 + count + int.from_bytes(body[2 : 2 + count], "big")


def pgp_private_key(text: str) -> bool | None:
    """Test an armored OpenPGP block for a secret-key packet, tag 5. RFC 9580, 4.2."""
    label, body = _dearmour(text)
    if body is None or not body:
        return False
    first = body[0]
    tag = first & 0x3F if first & 0x40 else (first & 0x3F) >> 2
    return True if first & 0x80 and tag == 5 and label == "PGP PRIVATE KEY BLOCK" else None


def basic_login(text: str) -> bool | None:
    """Test the credentials of HTTP Basic: `user:password` in base64. RFC 7617, 2."""
    plain = _decode(text)
    if plain is None:
        return False
    user, colon, password = plain.partition(":")
    return bool(user and colon and len(password) > 2 and _placeholder(password) is False)


def base64_secret(text: str) -> bool | None:
    """Test a value of a Kubernetes Secret: base64 of a text that is no placeholder."""
    plain = _decode(text)
    if plain is None:
        return None if len(text) >= 24 and len(set(text)) > 12 else False
    return len(plain.strip()) >= 5 and not _placeholder(plain.strip())


def _decode(text: str) -> str | None:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except ValueError:
        return None
    return plain if plain.strip().isprintable() or "\n" in plain else None


def _placeholder(text: str) -> bool:
    # Compiling the heuristics takes 40 ms, and `rules list` imports this module without them.
    from auditor.detect.heuristics.plausibility import rejecting_heuristic

    found = rejecting_heuristic(text, "", ".env")
    return found is not None and not found.guessable


def _dearmour(text: str) -> tuple[str, bytes | None]:
    """Return label and bytes of an armored block, with line breaks in any notation."""
    plain = text.replace("\\r", "").replace("\\n", "\n").replace("\\", "")
    armour = _ARMOUR.search(plain)
    inner = _ARMOUR.sub("", plain)
    lines = [_unquoted(line) for line in _HEADER.sub("", inner).split("\n")]
    # A line that starts with `=` is OpenPGP's checksum: RFC 9580, 6.1.
    body = "".join(line for line in lines if line.strip("\"'+,;. ") and not line.startswith("=")).rstrip("=")
    if not armour or len(body) % 4 == 1 or re.search(r"[^A-Za-z0-9+/]", body):
        return armour[2] if armour else "", None
    return armour[2], base64.b64decode(body + "=" * (-len(body) % 4))


def _unquoted(line: str) -> str:
    """Remove quotes and operators of a programming language from a line: `  "MIIE..." +`."""
    line = line.strip(" \t\r")
    opening = _OPENING_QUOTE.match(line)
    line = line[opening.end() :] if opening else line
    before = (line[:-1] if line[-1:] in ("+", ",", ";", ".") else line).rstrip(" \t")
    return before[:-1] if before.endswith(('"', "'")) else line


CHECKS: dict[str, Callable[[str], bool | None]] = {
    "private-key": private_key,
    "pgp-private-key": pgp_private_key,
    "basic-login": basic_login,
    "base64-secret": base64_secret,
}
