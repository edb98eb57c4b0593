"""Raw hits: what a search for expressions returns, whoever searches."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate

from auditor.core.limits import Limits, named

Hits = list[tuple[int, int]]
"""(rule number, end) for each raw hit, in the order of their ends."""

Row = tuple[int, bytes, int]
"""The number of a rule, one of its expressions, and that expression's flags."""

CASELESS, MULTILINE = 1, 4
"""Flags, with the values that Vectorscan gives them."""

SPARSE = 256
"""Beyond the limit `raw-hits` one hit of a rule in so many bytes is kept, or a run of one letter would take gigabytes.
Hits that lie close are confirmed together, so that a match between two of them is seen."""


def kept_in(found: Hits, most: int) -> Callable[[int, int], None]:
    """Return what adds the hits of a block, which come in the order of their ends, as far as they are kept."""
    counts, last = dict[int, int](), dict[int, int]()

    def add(rule: int, end: int) -> None:
        count = counts[rule] = counts.get(rule, 0) + 1
        if count > most and end - last.get(rule, 0) < SPARSE:
            return
        if count >= most:
            last[rule] = end
        found.append((rule, end))

    return add


def thinned(hits: Hits, most: int) -> list[int]:
    """Return the numbers of the rules that have so many hits in a block that not all of them were kept."""
    if len(hits) < most:
        return []
    return sorted(rule for rule, count in Counter(rule for rule, _ in hits).items() if count >= most)


def too_many(rule: str, limits: Limits) -> str:
    """Return what is said of a rule, named by its id, of whose hits not all are looked at."""
    return f"{limits.raw_hits} raw hits of {rule} or more; not all were looked at {named('raw-hits')}"


def joined_hits(scan: Callable[[bytes | memoryview], Hits], pieces: Sequence[bytes | memoryview]) -> list[Hits]:
    """Search several pieces in one go, as lines of one block, and return the hits of each.

    A call costs as much as some kilobytes do, and waits for the interpreter lock when it is back.
    """
    if len(pieces) == 1:
        return [scan(pieces[0])]
    starts = list(accumulate((len(piece) + 1 for piece in pieces), initial=0))
    own: list[Hits] = [[] for _ in pieces]
    for rule, end in scan(b"\n".join(pieces)) if pieces else ():
        at = bisect_left(starts, end) - 1
        if end - starts[at] <= len(pieces[at]):
            own[at].append((rule, end - starts[at]))
    return own
