"""String constants of compiled Python, with the names that the code assigns them to.

The marshal data is parsed without Python's own loader, which trusts its input. In the data a constant and its name are
apart, and the byte behind a constant may extend it to a longer word. So the search of the raw bytes finds none of eight
secrets of a typical settings module; this module finds all eight.
Source: CPython, Python/marshal.c; opcodes of Lib/opcode.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from auditor.extract.budget import Budget, BudgetExceeded, ExtractContext
from auditor.extract.member_stream import Member

_MAX_DEPTH = 200
_REF = 0x80
_EMPTY = frozenset(b"0NTFS.")
_FIXED = {ord("i"): 4, ord("I"): 8, ord("g"): 8, ord("y"): 16, ord("r"): 4}
_LONG_TEXT = frozenset(b"stuaA")
_SHORT_TEXT = frozenset(b"zZ")
_SERIES = frozenset(b"([<>")
# First magic number of each version. Version 3.13 renumbered the opcodes.
_SINCE_3_8, _SINCE_3_11, _SINCE_3_13, _SINCE_3_14 = 3400, 3450, 3550, 3600

Value = bytes | tuple["Value", ...] | None
"""Text in UTF-8 or a tuple; None for any other object."""


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the constants of compiled Python, 3.6 and later, as one text."""
    constants, exceeded = _Constants(data[: context.limits.member_bytes], context.budget), None
    try:
        constants.read()
    except (ValueError, IndexError, struct.error) as exc:
        context.skip(None, f"is compiled Python that can't be read: {exc}")
    except BudgetExceeded as exc:
        exceeded = exc
    text = b"\n".join(constants.lines)
    if text:
        yield Member(None, text, "pyc", search_text=text)
    if exceeded:
        raise exceeded


class _Constants:
    """Constants of one `.pyc` as lines, without repeats. Lines count in the budget: many may hold one constant."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data, self._budget = data, budget
        self._magic = int.from_bytes(data[:2], "little")
        self._at = 16 if self._magic >= 3390 else 12
        self._refs: list[Value] = []
        self._objects = 0
        self.lines: dict[bytes, None] = {}

    def read(self) -> None:
        """Read to the end. Raises BudgetExceeded, and ValueError, IndexError or struct.error on broken marshal data."""
        self._value(0)

    def _value(self, depth: int) -> Value:
        code = self._data[self._at]
        self._at += 1
        self._objects += 1
        if self._objects % 4096 == 0:
            self._budget.tick()
        if depth > _MAX_DEPTH:
            raise ValueError("it nests too deeply")
        slot = len(self._refs)
        if code & _REF:
            self._refs.append(None)
        value = self._typed_value(code & ~_REF, depth)
        if code & _REF:
            self._refs[slot] = value
        return value

    def _typed_value(self, kind: int, depth: int) -> Value:
        if kind in _EMPTY:
            return None
        if kind in _SHORT_TEXT:
            return self._text(self._byte())
        if kind in _LONG_TEXT:
            return self._text(self._int())
        if kind == ord("r"):
            return self._refs[self._int()]
        if kind == ord(")"):
            return self._tuple(self._byte(), depth)
        if kind in _SERIES:
            return self._tuple(self._int(), depth)
        if kind == ord("c"):
            self._code(depth)
        elif kind == ord("{"):
            self._dict(depth)
        elif kind == ord(":"):
            self._tuple(3, depth)
        else:
            self._number(kind)
        return None

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _int(self) -> int:
        value = int(struct.unpack_from("<i", self._data, self._at)[0])
        self._at += 4
        return value

    def _text(self, size: int) -> bytes:
        if not 0 <= size <= len(self._data) - self._at:
            raise ValueError("a string goes beyond the end")
        text = self._data[self._at : self._at + size]
        self._at += size
        return text

    def _tuple(self, count: int, depth: int) -> Value:
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError("a tuple goes beyond the end")
        return tuple([self._value(depth + 1) for _ in range(count)])

    def _dict(self, depth: int) -> None:
        while self._data[self._at] != ord("0"):
            self._value(depth + 1)
            self._value(depth + 1)
        self._at += 1

    def _number(self, kind: int) -> None:
        if kind == ord("l"):
            digits = abs(self._int())
            self._at += 2 * digits
        elif kind in (ord("f"), ord("x")):
            for _ in range(1 if kind == ord("f") else 2):
                self._text(self._byte())
        elif kind in _FIXED:
            self._at += _FIXED[kind]
        else:
            raise ValueError(f"no object begins with byte {kind}")

    def _code(self, depth: int) -> None:
        """Read a code object; its layout is that of `r_object` in the version's marshal.c."""
        modern = self._magic >= _SINCE_3_11
        self._at += 4 * (5 if modern or self._magic < _SINCE_3_8 else 6)
        code, constants, names, local = (self._value(depth + 1) for _ in range(4))
        for _ in range(4):  # kinds of locals, file, name, qualified name; before: free and cell variables, file, name
            self._value(depth + 1)
        self._at += 4  # first line
        for _ in range(2 if modern else 1):  # tables of lines and exceptions
            self._value(depth + 1)
        self._add_constants(code, constants, names, local)

    def _add_constants(self, code: Value, constants: Value, names: Value, local: Value) -> None:
        if not (isinstance(code, bytes) and isinstance(constants, tuple)):
            return
        for text in constants:
            if isinstance(text, bytes) and text:
                self._add(text)
        if isinstance(names, tuple) and isinstance(local, tuple) and self._magic < _SINCE_3_14:
            for line in _assigned(code, constants, names, local, self._magic >= _SINCE_3_13):
                self._add(line)

    def _add(self, line: bytes) -> None:
        if line not in self.lines:
            self._budget.spend(len(line))
            self.lines[line] = None


def _assigned(
    code: bytes, constants: Sequence[Value], names: Sequence[Value], local: Sequence[Value], renumbered: bool
) -> Iterator[bytes]:
    """Yield `name = "constant"` for each constant that is stored under a name: in variables, arguments and dicts."""
    load, extend, passed = (83, 71, 85) if renumbered else (100, 144, 124)  # LOAD_CONST, EXTENDED_ARG, LOAD_FAST
    globally, locally = ((114, 113, 108), 110) if renumbered else ((90, 97, 95), 125)  # STORE_NAME, _GLOBAL, _ATTR
    stores = {**dict.fromkeys(globally, names), locally: local}
    loaded: list[Value] = []
    more = 0
    for op, low in zip(code[::2], code[1::2], strict=False):
        number, more = more << 8 | low, 0
        if op == extend:
            more = number & 0xFFFFFF
        elif op in (load, _KEYWORDS) and number < len(constants):
            yield from _with_keys(loaded, constants[number])
            loaded = [*loaded[-63:], constants[number]]
        elif op != passed:  # `self.name = "constant"` loads `self` in between
            if op in stores and loaded and number < len(stores[op]):
                yield from _line(stores[op][number], loaded[-1])
            loaded = []


_KEYWORDS = 172  # KW_NAMES of 3.11 and 3.12


def _with_keys(loaded: list[Value], value: Value) -> Iterator[bytes]:
    """Yield the lines of a dict or a call: a tuple of names is loaded behind as many constants."""
    if isinstance(value, tuple) and 0 < len(value) <= len(loaded):
        for key, own in zip(value, loaded[-len(value) :], strict=True):
            yield from _line(key, own)


def _line(name: Value, value: Value) -> Iterator[bytes]:
    if isinstance(name, bytes) and isinstance(value, bytes) and name and value:
        yield b'%s = "%s"' % (name, value)
