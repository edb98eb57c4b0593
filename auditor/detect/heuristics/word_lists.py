"""Word lists, and the likeness of a text to words."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

_PART = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^A-Za-z0-9]+")
_RANDOM = -3.3
"""Fluency of letters drawn at random."""
_MIN_FLUENCY = -3.0
_MIN_SHARE = 0.75
"""Share of letters in words from which a text reads like words."""


@functools.cache
def words() -> frozenset[str]:
    """Return the frequent words of packages, in lower case."""
    return _read("words.txt")


@functools.cache
def placeholder_words() -> frozenset[str]:
    """Return the words that stand in place of a secret, in lower case."""
    return _read("placeholder_words.txt")


@functools.cache
def weak_passwords() -> frozenset[str]:
    """Return the weak passwords that anybody would guess, in lower case."""
    return _read("weak_passwords.txt")


@functools.cache
def identifier_words() -> frozenset[str]:
    """Return the words of identifiers that no pass phrase is made of, in lower case."""
    return _read("identifier_words.txt")


def _read(name: str) -> frozenset[str]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def parts(text: str) -> list[str]:
    """Split an identifier into words, numbers and separators: `getUserID_2` gives get, User, ID, _ and 2."""
    return _PART.findall(text)


def is_word(part: str) -> bool:
    """Tell whether letters are a frequent word, or an inflected form of one."""
    word = part.lower()
    return len(word) < 3 or any(stem in words() for stem in _stems(word))


def reads_like_words(text: str) -> bool:
    """Tell whether at least 3 of 4 letters belong to words, frequent or pronounceable ones."""
    pieces = [part for part in parts(text) if part.isalpha()]
    letters = sum(map(len, pieces))
    known = sum(len(part) for part in pieces if len(part) > 2 and (is_word(part) or fluency(part) > _MIN_FLUENCY))
    return letters > 0 and known / letters >= _MIN_SHARE


def reads_like_random_letters(text: str) -> bool:
    """Tell whether letters change between lower and upper case as at random, with few words of 4 letters in them."""
    pieces = [part for part in parts(text) if part.isalpha()]
    known = sum(len(part) for part in pieces if len(part) > 3 and is_word(part))
    return len(text) < 4 * len(pieces) and known < 0.2 * len(text)


@functools.lru_cache(4096)
def fluency(text: str) -> float:
    """Return the mean log-probability, in nats, of a letter given the one before it."""
    letters = [char for char in text.lower() if "a" <= char <= "z"]
    if len(letters) < 2:
        return _RANDOM
    table = _bigrams()
    return sum(table[a + b] for a, b in pairwise(letters)) / (len(letters) - 1)


@functools.cache
def _bigrams() -> dict[str, float]:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    pairs = Counter(a + b for word in words() for a, b in pairwise(word))
    table = {}
    for first in alphabet:
        total = sum(pairs[first + second] + 0.5 for second in alphabet)
        for second in alphabet:
            table[first + second] = math.log((pairs[first + second] + 0.5) / total)
    return table


def _stems(word: str) -> tuple[str, ...]:
    return tuple(word.removesuffix(end) for end in ("", "s", "es", "d", "ed", "ing", "er", "ly"))
