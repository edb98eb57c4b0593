"""Texts: escaping for terminals and logs, shortening, sizes, plurals, nearest words."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

_CUT = "…"
_COMMAND = re.compile(
    r"(?<=#)#(?=\[|vso\[|teamcity\[)"
    r"|(?<=:):(?=(?:error|warning|notice|debug|group|endgroup|echo|stop-commands|add-mask|add-path|add-matcher"
    r"|remove-matcher|save-state|set-env|set-output)\b)",
    re.IGNORECASE,
)
"""Second character of the start of a log command of Azure Pipelines, TeamCity or GitHub Actions."""


def printable(text: str) -> str:
    """Escape control and format characters, direction marks, lone surrogates, and log commands of build servers."""
    if "##" in text or "::" in text:
        text = _COMMAND.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escaped(char: str) -> str:
    if char in "\n\t":
        return " "
    return char.encode("unicode_escape", "backslashreplace").decode()


def display_path(path: str) -> str:
    """Return a layer's path in the form of reports: absolute, with bytes escaped that are not UTF-8."""
    return "/" + escaped_bytes(path)


def escaped_bytes(text: str) -> str:
    """Escape the bytes of a text that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shortened(text: str, limit: int) -> str:
    """Cut a text to `limit` characters, with an ellipsis at the end if it was longer."""
    return text if len(text) <= limit else text[: limit - 1] + _CUT


def shortened_middle(text: str, limit: int) -> str:
    """Cut a text to `limit` characters, with an ellipsis in the middle if it was longer."""
    end = limit // 2
    return text if len(text) <= limit else text[: limit - 1 - end] + _CUT + text[-end:]


def instruction(created_by: str | None) -> str:
    """Return a build step as a Dockerfile instruction, without the shell prefix that builders add."""
    text = " ".join((created_by or "").split())
    for prefix in ("/bin/sh -c #(nop) ", "|0 /bin/sh -c #(nop) "):
        text = text.removeprefix(prefix)
    text = text.removesuffix(" # buildkit")
    if text.startswith("RUN /bin/sh -c "):
        text = "RUN " + text.removeprefix("RUN /bin/sh -c ")
    elif text.startswith("/bin/sh -c "):
        text = "RUN " + text.removeprefix("/bin/sh -c ")
    return text.strip()


def size(count: int) -> str:
    """Return a number of bytes in decimal units, as docker prints them."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def plural(count: int, noun: str) -> str:
    """Return `1 secret`, `2,000 secrets`."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?`, or an empty text if no known word is similar."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
