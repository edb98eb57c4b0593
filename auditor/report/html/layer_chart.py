"""Chart of layers: columns are layers, lanes are findings from the layer that adds them to the layer that hides them.

Positions are percentages of the plot's width, so the chart fits any screen without a script. The last column is the
final image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity, State

ALONE = 25
"""Up to this number of findings each has a lane; above it, findings with equal layers and state share one."""

MOST_LANES = 30

_MAX_WITH_TEXT, _MAX_WITH_NUMBERS, _MAX_WITH_SMALL_NUMBERS = 8, 40, 64
_NOWHERE = 1 << 30


@dataclass(frozen=True, slots=True, order=True)
class Grid:
    """Number of columns of a plot (layers and the final image), and of those that are the base image's."""

    columns: int
    base: int

    @property
    def name(self) -> str:
        """CSS class that carries the numbers."""
        return f"grid-{self.columns}-{self.base}"

    def center(self, column: int) -> float:
        """Return the center of a column in percent of the plot's width."""
        return round((column + 0.5) * 100 / self.columns, 2)


@dataclass(frozen=True, slots=True)
class LaneKey:
    """Layers and state that the findings of a lane have in common."""

    added: int | None
    hidden: int | None
    state: State

    @property
    def text(self) -> str:
        """`added hidden state` with `-` for no layer; the page's script compares this text."""
        return " ".join("-" if part is None else str(part) for part in (self.added, self.hidden, self.state.value))


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane: numbers of its findings in the report, and the positions of start, hiding layer (`turn`) and end.

    `width` grows with the number of findings: 3 pixels for one, 2 more for ten times as many.
    """

    key: LaneKey
    findings: tuple[int, ...]
    severity: str
    by_severity: tuple[tuple[str, int], ...]
    start: float
    turn: float
    end: float
    width: float


@dataclass(frozen=True, slots=True)
class LayerChart:
    """Chart of one image. `omitted` findings are on lanes beyond MOST_LANES."""

    grid: Grid
    heights: tuple[float, ...]
    density: str
    lanes: tuple[Lane, ...]
    grouped: bool
    omitted: int


def lane_key(finding: dict[str, Any]) -> LaneKey:
    """Return the lane of a finding."""
    return LaneKey(finding["added_in"], finding["hidden_in"], State(finding["state"]))


def layer_chart(report: dict[str, Any]) -> LayerChart:
    """Return the chart of an image's report."""
    layers, findings = report["image"]["layers"], report["findings"]
    grid = Grid(len(layers) + 1, sum(layer["inherited"] for layer in layers))
    grouped = len(findings) > ALONE
    bundles = _bundles(findings) if grouped else [[number] for number in range(len(findings))]
    lanes = [_lane(grid, findings, bundle) for bundle in bundles]
    drawn = _drawn(lanes)
    return LayerChart(
        grid,
        _heights([layer["size"] for layer in layers]),
        _density(len(layers)),
        tuple(sorted(drawn, key=_from_left)),
        grouped,
        len(findings) - sum(len(lane.findings) for lane in drawn),
    )


def _bundles(findings: Sequence[dict[str, Any]]) -> Iterable[list[int]]:
    bundles: dict[LaneKey, list[int]] = {}
    for number, finding in enumerate(findings):
        bundles.setdefault(lane_key(finding), []).append(number)
    return bundles.values()


def _lane(grid: Grid, findings: Sequence[dict[str, Any]], numbers: Sequence[int]) -> Lane:
    key = lane_key(findings[numbers[0]])
    counts = Counter(findings[number]["severity"] for number in numbers)
    by_severity = tuple((severity.value, counts[severity]) for severity in Severity if counts[severity])
    end = grid.center(grid.columns - 1)
    return Lane(
        key,
        tuple(numbers),
        by_severity[0][0],
        by_severity,
        start=end if key.added is None else grid.center(key.added),
        turn=end if key.hidden is None else grid.center(key.hidden),
        end=end,
        width=round(3 + 2 * math.log10(len(numbers)), 1),
    )


def _drawn(lanes: Sequence[Lane]) -> list[Lane]:
    """Choose up to MOST_LANES lanes, most severe first, at least half of them with hidden findings if possible."""
    ranked = sorted(lanes, key=lambda lane: (-Severity(lane.severity).rank, -len(lane.findings)))
    hidden = [lane for lane in ranked if lane.key.hidden is not None]
    visible = [lane for lane in ranked if lane.key.hidden is None]
    chosen = hidden[: max(MOST_LANES // 2, MOST_LANES - len(visible))]
    return chosen + visible[: MOST_LANES - len(chosen)]


def _from_left(lane: Lane) -> tuple[int, int, int]:
    added, hidden = lane.key.added, lane.key.hidden
    return (_NOWHERE if added is None else added, _NOWHERE if hidden is None else hidden, lane.findings[0])


def _heights(sizes: Sequence[int]) -> tuple[float, ...]:
    """Return the size of each layer in percent of the largest; non-empty layers get at least 3 percent."""
    largest = max(sizes, default=0)
    return tuple(max(round(size * 100 / largest, 1), 3.0) if size else 0.0 for size in sizes)


def _density(layers: int) -> str:
    if layers <= _MAX_WITH_TEXT:
        return "roomy"
    if layers <= _MAX_WITH_NUMBERS:
        return "tight"
    return "packed" if layers <= _MAX_WITH_SMALL_NUMBERS else "dense"
