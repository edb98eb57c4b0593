"""Raw hits of a matching engine, and the limit on their number."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from auditor.core.limits import Limits, limit_note

Hits = list[tuple[int, int]]
"""(rule number, end) for each raw hit, in the order of their ends."""


NO_RULE = 0xFF00
"""First number that is no rule's. Expressions of a first step, which several rules share, have this or a higher one."""


class Expression(NamedTuple):
    """One expression for a matching engine: the number of its rule, below 0x10000, the pattern, flags.

    A match of the rule lies within `back` bytes before and `ahead` bytes behind the end of a hit, both below 0x10000;
    `back` is 0 where that is not known.
    """

    rule: int
    pattern: bytes
    flags: int = 0
    back: int = 0
    ahead: int = 0


CASELESS, MULTILINE = 1, 4
"""Flags of an expression, with Vectorscan's values."""

SPARSE = 256
"""Minimum distance, in bytes, of two hits of one rule beyond the limit `raw-hits`.

Without it a run of one letter would take gigabytes. Hits this close are confirmed together, so no match is lost.
"""


def kept_in(found: Hits, most: int) -> Callable[[int, int], None]:
    """Return a function that appends hits of a block to `found`, in the order of their ends.

    Beyond `most` of one rule, hits closer than SPARSE are dropped. Hits of no rule are kept.
    """
    counts, last = dict[int, int](), dict[int, int]()  # counted only where some rule may have more than `most`

    def add(rule: int, end: int) -> None:
        if len(found) >= most:
            if not counts:
                counts.update(Counter(earlier for earlier, _ in found))
                last.update(found)
            count = counts[rule] = counts.get(rule, 0) + 1
            if count > most and end - last.get(rule, 0) < SPARSE and rule < NO_RULE:
                return
            last[rule] = end
        found.append((rule, end))

    return add


def truncated_rules(hits: Hits, most: int) -> list[int]:
    """Return the numbers of the rules with at least `most` hits in a block, of which some were dropped."""
    if len(hits) < most:
        return []
    return sorted(rule for rule, count in Counter(rule for rule, _ in hits).items() if count >= most)


def truncation_reason(rule: str, limits: Limits) -> str:
    """Return the reason in the report for hits of a rule that were not all confirmed."""
    return f"{limits.raw_hits} or more raw hits of rule {rule}; not all were confirmed {limit_note('raw-hits')}"


def joined_hits(scan: Callable[[bytes | memoryview], Hits], pieces: Sequence[bytes | memoryview]) -> list[Hits]:
    """Search several pieces, joined by line breaks, in one call, and return the hits of each.

    A call of the engine costs as much as searching some kilobytes, and then waits for the interpreter lock.
    """
    if len(pieces) == 1:
        return [scan(pieces[0])]
    own = hits_of_pieces(scan(b"\n".join(pieces)), pieces) if pieces else {}
    return [own.get(index, []) for index in range(len(pieces))]


def hits_of_pieces(hits: Hits, pieces: Sequence[bytes | memoryview]) -> dict[int, Hits]:
    """Return the hits in several pieces that were searched joined by line breaks, by the index of the piece."""
    own: dict[int, Hits] = {}
    starts = list(accumulate((len(piece) + 1 for piece in pieces), initial=0)) if hits else []
    for rule, end in hits:
        at = bisect_left(starts, end) - 1
        if end - starts[at] <= len(pieces[at]):
            own.setdefault(at, []).append((rule, end - starts[at]))
    return own
