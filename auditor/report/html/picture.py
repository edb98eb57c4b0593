"""The picture: layers side by side, and every secret's lifeline from the layer that adds it to the one that hides it.

Positions are percentages of the plot's width, so that the picture fits any screen without a script. The last column is
the final image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.core.finding import Severity, State

ALONE = 25
"""Up to so many findings each has its own lifeline; of more, those with the same fate share one."""

MOST_LANES = 30

_ROOM_FOR_TEXT, _ROOM_FOR_NUMBERS = 8, 40
_NOWHERE = 1 << 30


@dataclass(frozen=True, slots=True, order=True)
class Grid:
    """How many columns a plot has, the final image's included, and how many of them are the base's."""

    columns: int
    base: int

    @property
    def name(self) -> str:
        """The CSS class that holds the numbers."""
        return f"grid-{self.columns}-{self.base}"

    def center(self, column: int) -> float:
        """Return the middle of a column, in percent of the plot's width."""
        return round((column + 0.5) * 100 / self.columns, 2)


@dataclass(frozen=True, slots=True)
class Fate:
    """What findings that share a lifeline have in common."""

    added: int | None
    hidden: int | None
    state: State

    @property
    def key(self) -> str:
        """`added hidden state`, `-` for no layer: what the page's script compares."""
        return " ".join("-" if part is None else str(part) for part in (self.added, self.hidden, self.state.value))


@dataclass(frozen=True, slots=True)
class Lane:
    """One lifeline: its findings, as their numbers in the report, and where it starts, is hidden and ends.

    `width` grows with the number of findings: 3 pixels for one, 2 more for ten times as many.
    """

    fate: Fate
    findings: tuple[int, ...]
    severity: str
    by_severity: tuple[tuple[str, int], ...]
    start: float
    turn: float
    end: float
    width: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn; `left_out` findings are on lifelines beyond MOST_LANES."""

    grid: Grid
    heights: tuple[float, ...]
    density: str
    lanes: tuple[Lane, ...]
    grouped: bool
    left_out: int


def fate_of(finding: dict[str, Any]) -> Fate:
    """Return a finding's fate."""
    return Fate(finding["added_in"], finding["hidden_in"], State(finding["state"]))


def picture(report: dict[str, Any]) -> Picture:
    """Draw a report."""
    layers, findings = report["image"]["layers"], report["findings"]
    grid = Grid(len(layers) + 1, sum(layer["inherited"] for layer in layers))
    grouped = len(findings) > ALONE
    bundles = _bundles(findings) if grouped else [[number] for number in range(len(findings))]
    lanes = [_lane(grid, findings, bundle) for bundle in bundles]
    drawn = _drawn(lanes)
    return Picture(
        grid,
        _heights([layer["size"] for layer in layers]),
        _density(len(layers)),
        tuple(sorted(drawn, key=_from_left)),
        grouped,
        len(findings) - sum(len(lane.findings) for lane in drawn),
    )


def _bundles(findings: Sequence[dict[str, Any]]) -> Iterable[list[int]]:
    bundles: dict[Fate, list[int]] = {}
    for number, finding in enumerate(findings):
        bundles.setdefault(fate_of(finding), []).append(number)
    return bundles.values()


def _lane(grid: Grid, findings: Sequence[dict[str, Any]], numbers: Sequence[int]) -> Lane:
    fate = fate_of(findings[numbers[0]])
    counts = Counter(findings[number]["severity"] for number in numbers)
    by_severity = tuple((severity.value, counts[severity]) for severity in Severity if counts[severity])
    end = grid.center(grid.columns - 1)
    return Lane(
        fate,
        tuple(numbers),
        by_severity[0][0],
        by_severity,
        start=end if fate.added is None else grid.center(fate.added),
        turn=end if fate.hidden is None else grid.center(fate.hidden),
        end=end,
        width=round(3 + 2 * math.log10(len(numbers)), 1),
    )


def _drawn(lanes: Sequence[Lane]) -> list[Lane]:
    """Choose up to MOST_LANES, the worst and fullest, half of them hidden ones where there are enough of both."""
    ranked = sorted(lanes, key=lambda lane: (-Severity(lane.severity).rank, -len(lane.findings)))
    hidden = [lane for lane in ranked if lane.fate.hidden is not None]
    seen = [lane for lane in ranked if lane.fate.hidden is None]
    chosen = hidden[: max(MOST_LANES // 2, MOST_LANES - len(seen))]
    return chosen + seen[: MOST_LANES - len(chosen)]


def _from_left(lane: Lane) -> tuple[int, int, int]:
    added, hidden = lane.fate.added, lane.fate.hidden
    return (_NOWHERE if added is None else added, _NOWHERE if hidden is None else hidden, lane.findings[0])


def _heights(sizes: Sequence[int]) -> tuple[float, ...]:
    """Return each layer's share of the largest, in percent; one that holds anything can be seen."""
    largest = max(sizes, default=0)
    return tuple(max(round(size * 100 / largest, 1), 3.0) if size else 0.0 for size in sizes)


def _density(layers: int) -> str:
    if layers <= _ROOM_FOR_TEXT:
        return "roomy"
    return "tight" if layers <= _ROOM_FOR_NUMBERS else "dense"
