"""Base64 and hex in a text.

The text is mapped to two characters, at C speed, and searched for runs of the alphabet. A run is decoded only if its
first characters encode printable ASCII, the signature of an archive or a private key; most words do not.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from auditor.codec.signatures import HEAD, magics_of
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
_KEY = rb"MI[IGH]|MC4C|MHcC|MF8C"
_LIKELY = re.compile(rb"%s|%s|%s|%s" % (_ARCHIVES, _KEY, _ASCII, _WIDE))
_HEX = re.compile(rb"(?:0x)?((?:[2-7][0-9a-fA-F]|0[9aAdD]){16,})(?![A-Za-z0-9+/])")
_URL_SAFE = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_NEXT_LINE = re.compile(rb"\r?\n[ \t]*([A-Za-z0-9+/]+)")
_PADDING = re.compile(rb"={0,2}")
_LAST = re.compile(rb"={0,2}(?=[\s\"',]|$)")
_NAME_BEFORE = re.compile(rb"[\w.-]{2,60}[\"']?[ \t]{0,3}(?:[:=]|=>|:=)[ \t]{0,3}[\"']?$")
_SECRET = re.compile(rb"kind[\"']?\s{0,3}:\s{0,3}[\"']?Secret\b")
_SHORT = re.compile(
    rb"(?<![\w.-])([\"']?[\w.-]{2,80}[\"']?[ \t]{0,3}:[ \t]{0,3}[\"']?)([A-Za-z0-9+/]{6,23}={0,2})(?=[\"'\s,}]|$)"
)
# Version 0 of PKCS #8 and PKCS #1, version 1 of SEC 1: RFC 5208, RFC 8017 A.1.2, RFC 5915
_PRIVATE = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)(?:(\x02\x01\x00\x30)|(\x02\x01\x00\x02)|(\x02\x01\x01\x04))", re.S
)
_PEM_LABELS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY")


def decoded_runs(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield offset, encoding and decoded bytes of each run of at least 24 characters, and of Kubernetes secrets."""
    mapped = text.translate(_RUNS)
    needle = b"A" * _MIN_RUN
    at = mapped.find(needle)
    while at >= 0:
        end = mapped.find(b" ", at + _MIN_RUN)
        end = len(text) if end < 0 else end
        if digits := _HEX.match(text, at, end + 1):
            yield at, "hex", _in_context(text, at, binascii.unhexlify(digits[1][: len(digits[1]) & -2]))
        elif likely := _LIKELY.match(text, at):
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
    width = end - at
    if _MIN_WRAP <= width <= _MAX_WRAP and text[end : end + 1] in (b"\n", b"\r"):
        end = _wrapped(text, end, width)
    elif run := _URL_SAFE.match(text, at):
        end = run.end()
    digits = b"".join(text[at:end].split()).rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return end, binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _wrapped(text: bytes, end: int, width: int) -> int:
    """Return the end of the lines of one width that follow a line end; the last may be shorter."""
    while line := _NEXT_LINE.match(text, end):
        size = len(line[1])
        if size < width and (last := _LAST.match(text, line.end())):
            return last.end()
        if size != width:
            break
        end = line.end()
    padding = _PADDING.match(text, end)
    return padding.end() if padding else end


def _searchable(text: bytes, at: int, decoded: bytes, start: bytes) -> bytes | None:
    """Return text and archives as they are, and a private key as PEM, which the rules match; None for other bytes."""
    if format_of("", decoded[:HEAD]) is not None:
        return decoded
    if private := _PRIVATE.match(decoded):
        # In PEM, the rules match the text as it stands.
        return None if b"-----" in text[max(0, at - 16) : at] else _as_pem(decoded, private.lastindex or 1)
    if start[:1] == b"M" and not printable(decoded):
        return None
    return _in_context(text, at, decoded) if printable(decoded) else None


def _as_pem(key: bytes, form: int) -> bytes:
    name = _PEM_LABELS[form - 1]
    body = binascii.b2a_base64(key, newline=False)
    lines = b"\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (name, lines, name)


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
