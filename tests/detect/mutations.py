"""Near misses, made from a rule's own examples: a character too few, a wrong checksum, a character too strange."""

from __future__ import annotations

import functools
import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.detect.matches import Match
from auditor.detect.rules import CHECKS, Rule
from auditor.rulebook.example_check import Prover

LONGEST = 1200
"""A secret's lengths are reckoned up to this."""

# From the mildest to the wildest. The last ones end a value in any format.
STRANGE = "-_.+/=~:%@#!,;$&|*?^(){}[]<>`'\"\\ \t\n"
_CATEGORIES = {
    op.CATEGORY_DIGIT: re.compile(rb"\d"),
    op.CATEGORY_NOT_DIGIT: re.compile(rb"\D"),
    op.CATEGORY_SPACE: re.compile(rb"\s"),
    op.CATEGORY_NOT_SPACE: re.compile(rb"\S"),
    op.CATEGORY_WORD: re.compile(rb"\w"),
    op.CATEGORY_NOT_WORD: re.compile(rb"\W"),
}
REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A text whose secret, from `start` on, is broken at `place`, in bytes."""

    text: str
    start: int
    place: int

    def is_found(self, prover: Prover, rule: Rule) -> bool:
        """Whether the rule takes the broken secret for a whole one; another secret of the text does not count."""
        return any(
            found.rule.id == rule.id
            and found.confidence is rule.confidence
            and found.start <= self.place + 1
            and found.end > self.start
            for found in prover.find(rule, self.text)
        )


def mutants(rule: Rule, text: str, found: Match) -> Iterator[Mutant]:
    """Yield texts in which the secret of an example is broken."""
    data, secret = text.encode(), found.secret.reveal()
    for place, other in (*_shortened(rule, secret), *_wrong_checksum(rule, found, secret), *_strange(rule, secret)):
        broken = data[: found.start] + other.encode() + data[found.end :]
        yield Mutant(broken.decode(), found.start, found.start + place)


def _shortened(rule: Rule, secret: str) -> Iterator[tuple[int, str]]:
    """Cut the last character, or so many that the pattern allows no such length; where any byte goes on, none."""
    allowed, known = _shape(rule.pattern)
    size = max((n for n in range(1, min(len(secret), LONGEST)) if n not in allowed), default=0)
    if size and len(known) < 256:
        yield size, secret[:size]


def _wrong_checksum(rule: Rule, found: Match, secret: str) -> Iterator[tuple[int, str]]:
    """Change single characters, where the offline check then fails."""
    if not rule.check or found.check != "passed":
        return
    for at in range(len(secret) // 3, len(secret), max(1, len(secret) // 12)):
        other = secret[:at] + {"7": "4", "a": "b", "A": "B"}.get(secret[at], _like(secret[at])) + secret[at + 1 :]
        if CHECKS[rule.check](other) is False:
            yield at, other


def _like(char: str) -> str:
    return "7" if char.isdigit() else "A" if char.isupper() else "a" if char.islower() else char


def _strange(rule: Rule, secret: str) -> Iterator[tuple[int, str]]:
    """Put a character that stands nowhere in the pattern where the shortest secret would still need one."""
    allowed, known = _shape(rule.pattern)
    at = min(*allowed, len(secret)) - 1
    strange = next((char for char in STRANGE if ord(char) not in known), None)
    if strange and at > 0:
        yield at, secret[:at] + strange + secret[at + 1 :]


@functools.cache
def _shape(pattern: str) -> tuple[set[int], set[int]]:
    """Return the lengths and the bytes of the secrets of a pattern."""
    items = secret_part(pattern)
    return lengths(items), alphabet(items)


def secret_part(pattern: str) -> list[Any]:
    """Return the parse tree of a pattern's group `secret`, or of the whole."""
    tree = parser.parse(pattern.encode())
    number = tree.state.groupdict.get("secret")
    return next((value[3] for kind, value in walk(tree) if kind is op.SUBPATTERN and value[0] == number), list(tree))


def walk(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield every item of a parse tree, assertions' left out."""
    for kind, value in items:
        yield kind, value
        for inner in _inner(kind, value):
            yield from walk(inner)


def _inner(kind: Any, value: Any) -> list[Any]:
    if kind in REPEATS:
        return [value[2]]
    if kind is op.SUBPATTERN:
        return [value[3]]
    if kind is op.ATOMIC_GROUP:
        return [value]
    return list(value[1]) if kind is op.BRANCH else []


def lengths(items: Sequence[Any]) -> set[int]:
    """Return all lengths that a match of some items may have, up to LONGEST."""
    total = {0}
    for kind, value in items:
        total = _sums(total, _lengths(kind, value))
    return total


def _sums(left: set[int], right: set[int]) -> set[int]:
    return {a + b for a in left for b in right if a + b <= LONGEST}


def _lengths(kind: Any, value: Any) -> set[int]:
    if kind in REPEATS:
        low, high, inner = value
        return _repeated(lengths(inner), low, min(int(high), LONGEST))
    if kind is op.BRANCH:
        return set().union(*map(lengths, value[1]))
    if kind in (op.SUBPATTERN, op.ATOMIC_GROUP):
        return lengths(*_inner(kind, value))
    return {1} if kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN) else {0}


def _repeated(once: set[int], low: int, high: int) -> set[int]:
    if once == {1}:
        return set(range(low, high + 1))
    total, found = {0}, set[int]()
    for number in range(high + 1):
        if number >= low:
            found |= total
        total = _sums(total, once)
        if not total or (number >= low and total <= found):
            break
    return found


def alphabet(items: Sequence[Any]) -> set[int]:
    """Return all bytes that may stand anywhere in a match of some items."""
    known = set[int]()
    for kind, value in walk(items):
        if kind is op.LITERAL:
            known.add(value)
        elif kind in (op.NOT_LITERAL, op.ANY):
            known |= set(range(256)) - {ord("\n") if kind is op.ANY else value}
        elif kind is op.IN:
            known |= _class(value)
    return known | {code ^ 0x20 for code in known if chr(code).isalpha() and code < 128}


def _class(members: Sequence[Any]) -> set[int]:
    inside = set[int]()
    for kind, value in members:
        if kind is op.LITERAL:
            inside.add(value)
        elif kind is op.RANGE:
            inside |= set(range(value[0], value[1] + 1))
        elif kind is op.CATEGORY:
            inside |= {code for code in range(256) if _CATEGORIES[value].match(bytes((code,)))}
    return set(range(256)) - inside if members[0][0] is op.NEGATE else inside
