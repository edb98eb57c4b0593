"""String constants of Java classes, with the names that the code assigns them to.

The search of the raw bytes finds tokens of a known form. Keyword rules need the name beside the constant
(`password = "constant"`), and in a class file the two are apart: without this module, one of six secrets of a typical
settings class is found. Source: JVM specification, chapter 4.
"""

from __future__ import annotations

import functools
import re
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from auditor.detect.engines import PatternDatabase, matching_engine
from auditor.detect.hits import CASELESS, Expression, joined_hits
from auditor.extract.budget import BudgetExceeded, ExtractContext
from auditor.extract.member_stream import Member

# Names of secrets, and addresses with a login. In a class without them, only tokens of a known form are found.
# Not the words of programs that have no secrets: author, authority, tokenizer, isPrivate, hasNextKey.
_SECRET_WORDS = (
    b"passw", b"passphrase", b"pwd", b"secret", b"token(?:[^i]|i[^sz])", b"credential", b"private[ _.-]?key", b"bearer",
    b"auth(?:[^o]|o[^r]|ori[sz])", b"://[^/\\s@]{1,100}@",
    b"(?:api|app|access|account|admin|aws|azure|crypto|encryption|signing|master|shared|service|licen[cs]e|hmac)[_.-]?key",
)  # fmt: skip
# Bytes of each constant, with its tag: table 4.4-A. Tag 1, text, has its own length.
_WIDTHS = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
_TEXT, _CLASS, _STRING, _NAME_AND_TYPE, _PAIRS = 1, 7, 8, 12, (9, 10, 11, 12)
_PAIR = struct.Struct(">HH")
# ldc or ldc_w, then putstatic, putfield, or a call that takes the constant as its last argument.
_LOAD = rb"(?:\x12(.)|\x13(..))"
_LOADED = re.compile(_LOAD + rb"[\xb3\xb5-\xb9](..)", re.S)
_BOTH_LOADED = re.compile(_LOAD + _LOAD + rb"[\xb6-\xb9]", re.S)  # `setProperty("password", "constant")`
# Both begin like this. The number of an expression is its length.
_NEXT = rb"[\x12\x13\xb3\xb5-\xb9]"
_BEGINNINGS = (Expression(3, rb"\x12[\x00-\xff]" + _NEXT), Expression(4, rb"\x13[\x00-\xff]{2}" + _NEXT))
_NO_NAME, _NO_NAME_OR_TYPE = re.compile(rb"[^\w.$-]"), re.compile(rb"[=:@|\s\"']")
"""Characters that names do not have, as of keys; that names and types of generics do not have."""
_BLOCK = 64 << 10
"""Bytes that are searched together for beginnings: there may be one at each byte, and each needs memory."""
_MIN_TOKEN = 16
"""Bytes of the shortest text that is kept if it is neither a string nor has a word of a secret: no token is shorter."""


def have_no_words(classes: Sequence[bytes]) -> list[bool]:
    """Tell for each class whether no word in it suggests a secret, so that its raw bytes are searched."""
    return [not hits for hits in joined_hits(lambda block: _secret_words().scan(block, sys.maxsize), classes)]


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the constants of a class as one text, or its raw bytes where no constant may be a secret with its name.

    Most classes with a word of a secret have it in the names of methods alone, like `nextToken`.
    """
    data = data[: context.limits.member_bytes]
    words = _secret_words().scan(data, sys.maxsize)
    pool, exceeded = _ConstantPool(data), None
    named: dict[bytes, None] = {}  # without repeats: a long constant may be assigned thousands of times
    try:
        if words:
            pool.read([end for _, end in words])
        is_suspect = pool.has_suspect_text()
        for constant in pool.assigned() if pool.suspects else ():
            is_suspect = is_suspect or constant.is_suspect
            if (line := constant.line) not in named:
                context.budget.spend(len(line))
                named[line] = None
        lines = dict.fromkeys(pool.values()) | named if is_suspect else {}
    except (IndexError, struct.error, KeyError):
        lines = dict.fromkeys((b"", *pool.texts.values(), data))  # a text, which does not begin like a class
    except BudgetExceeded as exc:
        exceeded, lines = exc, dict.fromkeys(pool.values()) | named
    text = b"\n".join(lines) if lines else data
    yield Member(None, text, "class", search_text=text)
    if exceeded:
        raise exceeded


@functools.cache
def _secret_words() -> PatternDatabase:
    return matching_engine().compile([Expression(0, word, CASELESS) for word in _SECRET_WORDS])


@functools.cache
def _beginnings() -> PatternDatabase:
    return matching_engine().compile(_BEGINNINGS)


def _matches(data: bytes, at: int) -> Iterator[re.Match[bytes]]:
    """Yield the matches of `_LOADED` and `_BOTH_LOADED` from an offset on, several times as fast as `re` alone."""
    view, ahead = memoryview(data), max(one.rule for one in _BEGINNINGS)
    for base in range(at, len(data), _BLOCK):
        hits = _beginnings().scan(view[base : base + _BLOCK + ahead], sys.maxsize)
        for begin in sorted({base + end - size for size, end in hits if end - size < _BLOCK}):
            if match := _LOADED.match(data, begin) or _BOTH_LOADED.match(data, begin):
                yield match


class _NamedConstant(NamedTuple):
    name: bytes
    value: bytes
    is_suspect: bool
    """Whether the name has a word that suggests a secret."""

    @property
    def line(self) -> bytes:
        return b'%s = "%s"' % (self.name, self.value)


class _ConstantPool:
    """The constant pool of a class: section 4.4."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._end = 10
        self.texts: dict[int, bytes] = {}
        self.suspects = set[int]()
        """Texts with a word that suggests a secret, names of classes and types of methods excluded."""
        self._others: dict[int, int] = {}  # offsets of constants that are no text
        self._strings: dict[int, int] = {}  # texts of string constants
        self._types = set[int]()  # texts that are names of classes and types of methods: half of all

    def read(self, words: Iterable[int]) -> None:
        """Read the pool. `words` are the ends of words that suggest a secret, ascending offsets in the class.

        Raises KeyError or IndexError where it is broken.
        """
        data, texts, others, at, number = self._data, self.texts, self._others, 10, 1
        strings, types, names, starts = self._strings, self._types, set[int](), list[int]()
        count = data[8] << 8 | data[9]
        while number < count:
            tag = data[at]
            if tag == _TEXT:
                start = at + 3
                at = start + (data[at + 1] << 8 | data[at + 2])
                texts[number] = data[start:at]
                starts.append(start)
            else:
                others[number] = at
                if tag == _STRING:
                    strings[number] = data[at + 1] << 8 | data[at + 2]
                elif tag == _CLASS:
                    types.add(data[at + 1] << 8 | data[at + 2])
                elif tag == _NAME_AND_TYPE:
                    names.add(data[at + 1] << 8 | data[at + 2])
                    types.add(data[at + 3] << 8 | data[at + 4])
                at += _WIDTHS[tag]
                if tag in (5, 6):  # long and double take two numbers
                    number += 1
            number += 1
        self._end = at
        types.difference_update(names, strings.values())
        numbers = list(texts)
        suspects = {numbers[bisect_left(starts, end) - 1] for end in words if 10 < end <= at}
        self.suspects = suspects - types

    def values(self) -> Iterator[bytes]:
        """Yield the strings, the texts with a word that suggests a secret, and all that are long enough for a token."""
        chosen = self.suspects.union(self._strings.values())
        for number, text in self.texts.items():
            if number in chosen or (len(text) >= _MIN_TOKEN and number not in self._types):
                yield text

    def has_suspect_text(self) -> bool:
        """Tell whether a text with a word of a secret says more than a name: `password=`, a message, an annotation."""
        strings = set(self._strings.values())
        return any(
            (_NO_NAME if number in strings else _NO_NAME_OR_TYPE).search(self.texts[number]) for number in self.suspects
        )

    def assigned(self) -> Iterator[_NamedConstant]:
        """Yield each constant with the field that it is assigned to, or the method that it is passed to.

        A string with spaces is a message, unless the name suggests a secret.
        """
        yield from self._constant_fields()
        texts = self.texts
        for match in _matches(self._data, self._end):
            if match.re is _BOTH_LOADED:
                number, constant = (self._string(_number(match[at] or match[at + 1])) for at in (1, 3))
                name, value = texts.get(number), texts.get(constant)
            elif value := texts.get(self._string(_number(match[1] or match[2]))):
                number = self._pair(self._pair(_number(match[3]))[1])[0]
                name = texts.get(number)
                if name and b" " in value and number not in self.suspects:
                    continue
                name = name and name.removeprefix(b"set")
            if value and name:
                yield _NamedConstant(name, value, number in self.suspects)

    def _pair(self, number: int) -> tuple[int, int]:
        """Return the two numbers that a constant refers to; zeros where it is of another kind."""
        at = self._others.get(number, 0)  # no tag is at 0, where the class begins
        return _PAIR.unpack_from(self._data, at + 1) if self._data[at] in _PAIRS else (0, 0)

    def _string(self, number: int) -> int:
        """Return the number of a string constant's text; 0, which no text has, for a constant of another kind."""
        return self._strings.get(number, 0)

    def _constant_fields(self) -> Iterator[_NamedConstant]:
        """Yield `static final` fields; their values are attributes. Sections 4.5 and 4.7.2."""
        data, at = self._data, self._end + 6
        at += 2 + 2 * int(struct.unpack_from(">H", data, at)[0])
        count, at = struct.unpack_from(">H", data, at)[0], at + 2
        for _ in range(count):
            _, name, _, attributes = struct.unpack_from(">HHHH", data, at)
            at += 8
            for _ in range(attributes):
                kind, length, value = struct.unpack_from(">HIH", data, at)
                constant = self.texts.get(self._string(value))
                if self.texts.get(kind) == b"ConstantValue" and constant:
                    yield _NamedConstant(self.texts.get(name, b"?"), constant, name in self.suspects)
                at += 6 + length


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
