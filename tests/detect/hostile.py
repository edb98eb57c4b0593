"""Text that makes a pattern work hard: beginnings of a match, over and over, and runs that never end it."""

from __future__ import annotations

import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from typing import Any

from tests.detect.mutations import REPEATS, alphabet

_MILD = b"a0A \t\n/=_-.:;,\"'"


def windows(pattern: str, size: int) -> list[bytes]:
    """Return hostile texts of `size` bytes, none twice."""
    made = set()
    for begin, run in partial_matches(list(parser.parse(pattern.encode()))):
        made |= {_filled(b"", begin + run, size), _filled(b"", begin + run * 20, size), _filled(begin, run, size)}
    return sorted(made)


def _filled(begin: bytes, unit: bytes, size: int) -> bytes:
    return (begin + unit * (size // len(unit) + 1))[:size] if unit else b""


def partial_matches(items: Sequence[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a match may begin with, up to each repeat in the pattern, and one round of that repeat."""
    begin = b""
    for kind, value in items:
        for inner in parts(kind, value):
            for head, run in partial_matches(inner):
                yield begin + head, run
            if kind in REPEATS and value[1] > 1:
                yield from ((begin, round_) for round_ in _rounds(inner))
        begin += shortest([(kind, value)])
    yield begin, begin[-1:]


def _rounds(items: Sequence[Any]) -> set[bytes]:
    """One round of a repeat: the shortest, and of a single class a few of its characters."""
    shown = {shortest(items)}
    if len(items) == 1 and items[0][0] in (op.IN, op.ANY, op.NOT_LITERAL):
        known = alphabet(items)
        shown |= {bytes((code,)) for code in _MILD if code in known}
    return shown - {b""}


def parts(kind: Any, value: Any) -> list[Sequence[Any]]:
    """Return the sequences that an item of a parse tree is made of."""
    if kind in REPEATS:
        return [value[2]]
    if kind is op.SUBPATTERN:
        return [value[3]]
    if kind is op.BRANCH:
        return list(value[1])
    return [value] if kind is op.ATOMIC_GROUP else []


def shortest(items: Sequence[Any]) -> bytes:
    """Return a short text that some items match, assertions aside."""
    text = b""
    for kind, value in items:
        if kind in REPEATS:
            text += shortest(value[2]) * value[0]
        elif kind is op.BRANCH:
            text += min(map(shortest, value[1]), key=len)
        elif kind in (op.SUBPATTERN, op.ATOMIC_GROUP):
            text += shortest(*parts(kind, value))
        elif kind is op.LITERAL:
            text += bytes((value,))
        elif kind in (op.IN, op.ANY, op.NOT_LITERAL):
            known = alphabet([(kind, value)])
            text += bytes((next((code for code in _MILD if code in known), min(known)),))
    return text
