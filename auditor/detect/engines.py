"""Table of matching engines: libraries that search a block of bytes for many expressions in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from auditor.core.dataclass import dataclass
from auditor.core.errors import MissingLibrary
from auditor.detect import vectorscan
from auditor.detect.hits import Expression, Hits


class PatternDatabase(Protocol):
    """Expressions compiled for one engine. Threads may share it."""

    def scan(self, block: memoryview | bytes, most: int) -> Hits:
        """Return every hit in a block: each end of each match. Beyond `most` of one rule they are thinned."""
        ...

    def dump(self) -> bytes:
        """Serialize for `MatchingEngine.load`, without the numbers of the rules."""
        ...


@dataclass(frozen=True, slots=True)
class MatchingEngine:
    """One engine: how to compile expressions, and how to load dumps of an earlier run.

    `compile` raises ValueError on an expression that the engine refuses. `load` takes a dump and the rule number of
    each of its expressions, and raises ValueError on a dump of another version or CPU.
    `missing` is the reason why the engine can't be used on this machine, None where it can.
    """

    name: str
    compile: Callable[[Sequence[Expression]], PatternDatabase]
    load: Callable[[bytes, Sequence[int]], PatternDatabase]
    missing: str | None = None


MATCHING_ENGINES = (
    MatchingEngine(
        "vectorscan",
        compile=vectorscan.VectorscanDatabase.compile,
        load=vectorscan.VectorscanDatabase.load,
        missing=vectorscan.MISSING,
    ),
)
"""Engines in the order of preference."""


def matching_engine() -> MatchingEngine:
    """Return the first engine that this machine can use. Raises MissingLibrary."""
    for engine in MATCHING_ENGINES:
        if engine.missing is None:
            return engine
    raise MissingLibrary(
        f"{MATCHING_ENGINES[0].missing}. The rules need it. Install it with `pip install hyperscan`; it has wheels for "
        "CPython 3.11 to 3.14 on Linux and macOS, x86-64 and arm64. Elsewhere, use the container image of image-audit."
    )
