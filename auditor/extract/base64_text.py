"""Base64 and hex in a text.

The text is mapped to two characters, at C speed, and searched for runs of the alphabet. A run is decoded only if its
first characters encode printable ASCII, the signature of an archive or a private key; most words do not.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from auditor.codec.signatures import HEAD, magics_of
from auditor.extract.der_keys import as_pem
from auditor.extract.formats import format_of

_MIN_RUN = 24
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_RUNS = bytes(65 if byte in _ALPHABET else 32 for byte in range(256))
_CONTROL = bytes(byte for byte in range(256) if (byte < 32 and byte not in b"\t\n\r\f\x1b") or byte == 127)
_MIN_WRAP, _MAX_WRAP = 40, 1024

# Bytes 0x20-0x7e, tab and line ends, three to four characters: the first has the top six bits of byte 1, and so on.
_ASCII = rb"(?:[CDI-Za-f][AC-HQS-Xgi-nwyz0-3][AEIMQUYcgkosw048BFJNRVZdhlptx159][A-Za-z0-9+/]){5}"
_WIDE = rb"(?://4)?(?:[I-Za-f][AQgw][AB][A-Za-z0-9+/]A[C-H][AEIMQUYcgkosw048]A){3}"  # UTF-16LE, as PowerShell takes it
_ARCHIVES = b"|".join(
    # of the last character only the whole six bits are known
    re.escape(binascii.b2a_base64(magic, newline=False)[: len(magic) * 8 // 6])
    for magic in magics_of("gzip", "zip", "bzip2", "xz", "zstd", "7z", "sqlite")
)
_KEY = rb"MI[IGH]|M(?:C4|DE|EE|Ec|FE|F8|Hc)C"
_LIKELY = re.compile(rb"%s|%s|%s|%s" % (_ARCHIVES, _KEY, _ASCII, _WIDE))
_HEX = re.compile(rb"(?:0x)?((?:[2-7][0-9a-fA-F]|0[9aAdD]){16,})(?![A-Za-z0-9+/])")
_HEX_KEY = re.compile(
    rb"(?:0x)?((?i:30(?:[0-7][0-9a-f]|81[0-9a-f]{2}|82[0-9a-f]{4})(?:0201|30)[0-9a-f]{80,}))(?![A-Za-z0-9+/])"
)
# First bytes of these expressions: most runs are words and paths, and many have another.
_FIRST_HEX = frozenset(b"0234567")
_FIRST_LIKELY = frozenset(b"/CDHIJKLMNOPQRSTUVWXYZabcdef")

_URL_SAFE = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
# On the next line; or as the next string of an expression: `"MIIE…" +`, then `"…"`.
_NEXT_LINE = re.compile(
    rb"(?:\r?\n[ \t]*|[\"'][ \t]{0,4}[+.,\\]?[ \t]{0,4}\r?\n[ \t]*(?:[+.][ \t]{0,4})?[\"'])([A-Za-z0-9+/]+)"
)
_PADDING = re.compile(rb"={0,2}")
_LAST = re.compile(rb"={0,2}(?=[\s\"',]|$)")
_NAME_BEFORE = re.compile(rb"[\w.-]{2,60}[\"']?[ \t]{0,3}(?:[:=]|=>|:=)[ \t]{0,3}[\"']?$")
_SECRET = re.compile(rb"kind[\"']?\s{0,3}:\s{0,3}[\"']?Secret\b")
_SHORT = re.compile(
    rb"(?<![\w.-])([\"']?[\w.-]{2,80}[\"']?[ \t]{0,3}:[ \t]{0,3}[\"']?)([A-Za-z0-9+/]{6,23}={0,2})(?=[\"'\s,}]|$)"
)


def decoded_runs(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield offset, encoding and decoded bytes of each run of at least 24 characters, and of Kubernetes secrets."""
    mapped = text.translate(_RUNS)
    needle = b"A" * _MIN_RUN
    at = mapped.find(needle)
    while at >= 0:
        end = mapped.find(b" ", at + _MIN_RUN)
        end = len(text) if end < 0 else end
        first = text[at]
        digits = (_HEX.match(text, at, end + 1) or _HEX_KEY.match(text, at, end + 1)) if first in _FIRST_HEX else None
        if digits:
            decoded = binascii.unhexlify(digits[1][: len(digits[1]) & -2])
            yield at, "hex", as_pem(decoded) or _in_context(text, at, decoded)
        elif first in _FIRST_LIKELY and (likely := _LIKELY.match(text, at)):
            last, decoded = _decoded(text, at, end)
            end = max(end, last)
            if content := _searchable(text, at, decoded, likely[0]):
                yield at, "base64", content
        at = mapped.find(needle, end)
    yield from _kubernetes(text)


def printable(data: bytes) -> bool:
    """Tell whether bytes are mostly text, in UTF-8."""
    if len(data) < 4 or len(data) - len(data.translate(None, _CONTROL)) > len(data) // 50:
        return False
    if data.isascii():
        return True
    return len(data.decode("utf-8", "ignore").encode()) * 10 >= len(data) * 9


def _decoded(text: bytes, at: int, end: int) -> tuple[int, bytes]:
    """Decode base64 from an offset on, over several lines of the same length; return its end too."""
    digits = text[at:end]
    if _MIN_WRAP <= end - at <= _MAX_WRAP and _NEXT_LINE.match(text, end):
        end, digits = _wrapped(text, at, end)
    elif run := _URL_SAFE.match(text, at):
        end, digits = run.end(), run[0]
    digits = digits.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return end, binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _wrapped(text: bytes, at: int, end: int) -> tuple[int, bytes]:
    """Return the end of the lines of one width from an offset on, and their characters; the last may be shorter."""
    lines, width = [text[at:end]], end - at
    while line := _NEXT_LINE.match(text, end):
        size = len(line[1])
        if size != width and not (size < width and _LAST.match(text, line.end())):
            break
        lines.append(line[1])
        end = line.end()
        if size < width:
            break
    padding = _PADDING.match(text, end)
    return padding.end() if padding else end, b"".join(lines)


def _searchable(text: bytes, at: int, decoded: bytes, start: bytes) -> bytes | None:
    """Return text and archives as they are, and a private key as PEM, which the rules match; None for other bytes."""
    if key := as_pem(decoded):
        return None if b"-----" in text[max(0, at - 16) : at] else key  # in PEM, the rules match the text as it stands
    if format_of("", decoded[:HEAD]) is not None:
        return decoded
    if start[:1] == b"M" and not printable(decoded):
        return None
    return _in_context(text, at, decoded) if printable(decoded) else None


def _in_context(text: bytes, at: int, decoded: bytes) -> bytes:
    """Return a short value with the name before it: `password: sec…` for `password: c2Vj…`."""
    value = decoded.rstrip()
    name = _NAME_BEFORE.search(text, max(0, at - 80), at)
    if name is None or len(value) > 512 or b"\n" in value:
        return decoded
    quote = name[0][-1:]
    return name[0] + value + (quote if quote in b"\"'" else b"")


def _kubernetes(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield the short values of Kubernetes secrets."""
    if b"Secret" not in text or not _SECRET.search(text):
        return
    for match in _SHORT.finditer(text):
        digits = match[2].rstrip(b"=")
        if len(digits) % 4 == 1 or (b"=" in match[2]) != (len(digits) % 4 > 0):
            continue
        value = binascii.a2b_base64(digits + b"=" * (-len(digits) % 4)).rstrip(b"\n")
        if printable(value) and value.isascii():
            quote = match[1][-1:]
            yield match.start(), "base64", match[1] + value + (quote if quote in b"\"'" else b"")
