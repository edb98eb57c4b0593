"""Is what a page shows what a command printed? Compared word by word: line breaks and columns do not matter."""

from __future__ import annotations

import re

# What differs from run to run, or from one machine to another, and a name for it.
_VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z| UTC)?)?"), "DATE"),
    (re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*\s?(?:B|bytes?|kB|MB|GB|TB|ms|s|seconds?|min)\b"), "SIZE"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "HEX"),
    (re.compile(r"\*{4}[\w+/=-]{0,4}"), "****"),
    (re.compile(r"[─━]+"), "─"),
)


def same(shown: str, printed: str) -> bool:
    """`…` in `shown` stands for any words where it stands alone, else for any part of a word."""
    return re.fullmatch("".join(map(_word, _fixed(shown).split())), _joined(_fixed(printed).split())) is not None


def _word(word: str) -> str:
    return r"(?: \S+)*?" if word == "…" else " " + re.escape(word).replace("…", r"\S*")


def _joined(words: list[str]) -> str:
    return "".join(f" {word}" for word in words)


def _fixed(text: str) -> str:
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return text
