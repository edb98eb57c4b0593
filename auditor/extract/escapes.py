"""Text encoded with percent signs, or with the escapes of JSON and source code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from auditor.extract.base64_text import printable

_PERCENT = re.compile(rb"%[2-7][0-9A-Fa-f]")
_SEPARATOR = re.compile(rb"%3[AaDd]")
_DELIMITERS = re.compile(rb"[\s\"'<>`\\]")
_RUN = re.compile(rb"[^\s\"'<>`\\]{0,65536}")
_MAX_BEFORE = 256

_IN_JSON = re.compile(rb"\\(?:n[^\"',\\]|u00[2-7][0-9a-fA-F]|\")")
# Most escapes in source code are harmless; these hold an assignment, or hide text.
_IN_CODE = re.compile(
    rb"\\(?:n(?:export )?[A-Z][A-Z0-9_]{3,40}="
    rb"|u00[2-7][0-9a-f](?:\\u00[2-7][0-9a-f]){5}|x[2-7][0-9a-f](?:\\x[2-7][0-9a-f]){7})",
    re.I,
)
_PEM = b"-----BEGIN "
_PEM_ESCAPED = re.compile(rb"-----BEGIN [A-Z0-9 ]{3,40}-----\\{1,4}[nr]")
_SOURCE_MAP = re.compile(rb"\{\s*\"version\"\s*:\s*3\s*,")
_NUMBERED = re.compile(rb"\\(?:u00|x)([0-7][0-9a-fA-F])")
_SIMPLE = ((b"\\n", b"\n"), (b"\\r", b"\r"), (b"\\t", b"\t"), (b'\\"', b'"'), (b"\\'", b"'"), (b"\\/", b"/"))
_MAX_LINE = 64 << 10


def decoded_percent(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield offset, encoding and decoded bytes of each run of characters with percent signs."""
    done = 0
    for match in _PERCENT.finditer(text) if b"%" in text else ():
        if match.start() < done:
            continue
        low = max(done, match.start() - _MAX_BEFORE)
        start = max((delimiter.end() for delimiter in _DELIMITERS.finditer(text, low, match.start())), default=low)
        run = _RUN.match(text, start)
        done = max(run.end() if run else 0, match.end())
        raw = text[start:done]
        if _SEPARATOR.search(raw) or len(_PERCENT.findall(raw)) > 1:
            decoded = unquote_to_bytes(raw)
            if printable(decoded):
                yield start, "percent", decoded


def decoded_escapes(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield offset, encoding and decoded bytes of each line with escapes that hide text from the rules."""
    if b"\\" not in text:
        return
    done = 0
    for at in _escapes(text):
        if at < done:
            continue
        start = max(text.rfind(b"\n", max(done, at - _MAX_LINE), at) + 1, done, at - _MAX_LINE)
        end = text.find(b"\n", at, at + _MAX_LINE)
        done = end if end >= 0 else min(at + _MAX_LINE, len(text))
        yield start, "escapes", unescaped(text[start:done])


def unescaped(text: bytes) -> bytes:
    """Resolve the escapes that JSON, YAML and most languages share, and keep others."""
    out = text.replace(b"\\\\", b"\0")
    for escape, plain in _SIMPLE:
        out = out.replace(escape, plain)
    if b"\\u00" in out or b"\\x" in out:
        out = _NUMBERED.sub(lambda match: bytes((int(match[1], 16),)), out)
    return out.replace(b"\0", b"\\")


def _escapes(text: bytes) -> Iterator[int]:
    if text[:64].lstrip()[:1] in (b"{", b"[", b'"'):
        if not _SOURCE_MAP.match(text.lstrip()[:64]):
            yield from (match.start() for match in _IN_JSON.finditer(text))
        return
    offsets = [match.start() for match in _IN_CODE.finditer(text)]
    if _PEM in text:
        offsets += [match.start() for match in _PEM_ESCAPED.finditer(text)]
    yield from sorted(offsets)
