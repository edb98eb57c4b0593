"""Charts of trends: one column per sweep. Horizontal positions are percentages, so that a chart fits any screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.fleet.store.rows import SweepRow

MOST_COLUMNS = 60
HEIGHT = 150
"""Height of the plot in pixels."""

OTHER = "other"
_MOST_SERIES = 6
_LEAST_SEEN = 2  # pixels, so that one finding among thousands is visible


@dataclass(frozen=True, slots=True)
class Bar:
    """Part of a column: CSS class `kind`, vertical position and height in pixels."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One sweep. `x` is a percentage, `text` gives the numbers."""

    x: float
    text: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `width` of a column is a percentage; `ticks` are pixels from the top with their numbers.

    `kinds` maps names in the legend to CSS classes, where these differ.
    """

    width: float
    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, int], ...]
    zero: float
    first: str
    last: str
    left_out: int
    kinds: Mapping[str, str] = field(default_factory=dict)


def findings(sweeps: Sequence[SweepRow]) -> Chart:
    """Draw the number of findings in each sweep, the most severe at the bottom."""
    return _stacked_chart(sweeps, [_severities(sweep) for sweep in sweeps])


def series(points: Sequence[tuple[SweepRow, Mapping[str, int]]], names: Sequence[str]) -> Chart:
    """Draw numbers by name in each sweep, the first name at the bottom; names beyond the sixth count as `other`."""
    shown = names[:_MOST_SERIES]
    counts = []
    for _, own in points:
        rest = sum(count for name, count in own.items() if name not in shown)
        counts.append({**{name: own.get(name, 0) for name in shown}, **({OTHER: rest} if rest else {})})
    kinds = {name: f"series-{number}" for number, name in enumerate(shown)}
    if any(OTHER in own for own in counts):
        kinds[OTHER] = f"series-{_MOST_SERIES}"
    return _stacked_chart([sweep for sweep, _ in points], counts, kinds)


def _stacked_chart(
    sweeps: Sequence[SweepRow], counts: Sequence[dict[str, int]], kinds: Mapping[str, str] | None = None
) -> Chart:
    recent, own = sweeps[-MOST_COLUMNS:], counts[-MOST_COLUMNS:]
    top = _round_up(max((sum(one.values()) for one in own), default=0))
    scale = HEIGHT / top
    columns = [
        (_text(sweep, one), _stacked({(kinds or {}).get(name, name): count for name, count in one.items()}, scale))
        for sweep, one in zip(recent, own, strict=True)
    ]
    ticks = ((0.0, top), (HEIGHT / 2, top // 2), (float(HEIGHT), 0)) if top > 1 else ((0.0, top), (float(HEIGHT), 0))
    return replace(_chart(sweeps, recent, columns, ticks, HEIGHT), kinds=kinds or {})


def new_and_gone(sweeps: Sequence[SweepRow]) -> Chart:
    """Draw new findings upwards and gone findings downwards."""
    recent = sweeps[-MOST_COLUMNS:]
    up = max((sweep.counts["new"] for sweep in recent), default=0)
    down = max((sweep.counts["gone"] for sweep in recent), default=0)
    top, bottom = _round_up(up), _round_up(down) if down else 0
    scale = HEIGHT / (top + bottom)
    zero = round(top * scale, 1)
    columns = []
    for sweep in recent:
        counts = {key: sweep.counts[key] for key in ("new", "gone")}
        heights = {key: _height(count, scale) for key, count in counts.items()}
        bars = (Bar("new", round(zero - heights["new"], 1), heights["new"]), Bar("gone", zero, heights["gone"]))
        columns.append((_text(sweep, counts), tuple(bar for bar in bars if bar.height)))
    ticks = ((0.0, top), (zero, 0), *(((float(HEIGHT), bottom),) if bottom else ()))
    return _chart(sweeps, recent, columns, ticks, zero)


def _chart(
    sweeps: Sequence[SweepRow],
    recent: Sequence[SweepRow],
    columns: Sequence[tuple[str, tuple[Bar, ...]]],
    ticks: tuple[tuple[float, int], ...],
    zero: float,
) -> Chart:
    step = 100 / max(len(recent), 12)  # limits the width of columns if there are few sweeps
    columns_drawn = tuple(Column(round(number * step, 3), text, bars) for number, (text, bars) in enumerate(columns))
    first, last = (recent[0].started, recent[-1].started) if recent else ("", "")
    return Chart(round(step * 0.8, 3), columns_drawn, ticks, zero, first, last, len(sweeps) - len(recent))


def _severities(sweep: SweepRow) -> dict[str, int]:
    return {severity.value: sweep.counts[severity.value] for severity in Severity}


def _stacked(counts: dict[str, int], scale: float) -> tuple[Bar, ...]:
    bars, y = [], float(HEIGHT)
    for kind, count in counts.items():
        height = _height(count, scale)
        y = round(y - height, 1)
        if height:
            bars.append(Bar(kind, y, height))
    return tuple(bars)


def _height(count: int, scale: float) -> float:
    return round(max(count * scale, _LEAST_SEEN), 1) if count else 0.0


def _text(sweep: SweepRow, counts: dict[str, int]) -> str:
    numbers = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f"{sweep.started[:16].replace('T', ' ')}: {numbers or 'nothing'}"


def _round_up(count: int) -> int:
    """Return the next number of the form 1, 2, 4, 6, 8 times a power of ten, so that its half is an integer."""
    power = 1
    while True:
        for digit in (1, 2, 4, 6, 8):
            if digit * power >= count:
                return digit * power
        power *= 10
