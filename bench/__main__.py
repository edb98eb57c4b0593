"""`make bench`: this program, the floor, and every peer that is installed, side by side in one run.

`IMAGE="a.tar b.tar" make bench` measures archives of yours, as `docker save` writes them; without it the images of
`bench.real_images`. `ROUNDS` is how often each command runs, in turn (3); one that takes longer than a minute runs
once, one of less than three seconds five times as often. Figures are medians. Memory is the peak PSS of the command's
processes, without those of an engine, and needs root. All rules are compiled before; what is known of layers is
forgotten between runs, except for rows with "again".
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from auditor.core.process import usable_cores
from bench import rows
from bench.measure import Measure
from bench.real_images import NAMES, build
from bench.rows import OURS, Row

_ROUNDS = int(os.environ.get("ROUNDS", "3"))
_SLOW_S = 60
_SHORT_S, _RUNS_OF_SHORT = 3, 5
_SMALL = "scan of an image of 2 MB, again"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is to be reached; with `at_least` false the limit is a maximum."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the figure is reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def main() -> None:
    """Measure and print."""
    console = Console(width=110)
    console.print(_machine())
    archives = [Path(path).resolve() for path in shlex.split(os.environ.get("IMAGE", ""))] or [*map(build, NAMES)]
    with tempfile.TemporaryDirectory(prefix="image-audit-bench-") as home:
        os.environ["XDG_CACHE_HOME"] = home
        small = Row(_SMALL, (*OURS, "scan", "-q", str(_small_image(Path(home)))))
        _measure([small])
        _print(console, "small image", [small])
        for archive in archives:
            with tempfile.TemporaryDirectory(dir=home) as folder:
                found = rows.rows(archive, Path(folder), Path(home, "image-audit"))
                _measure(found)
            _print(console, f"{archive.name}, {archive.stat().st_size / 1e6:.0f} MB", found)
            _print_targets(console, [*_targets({row.name: row.median for row in (*found, small)})])


def _measure(found: Sequence[Row]) -> None:
    """Run each command as often as is asked for, in turn, after a run of the first two that does not count."""
    for row in found[:2]:  # compiles the rules, warms the page cache
        row.run()
        row.runs.clear()
    for _ in range(_ROUNDS):
        for row in found:
            if not row.runs or row.runs[0].wall_s < _SLOW_S:
                row.run()
            while row.runs[0].wall_s < _SHORT_S and len(row.runs) % _RUNS_OF_SHORT:
                row.run()


def _print(console: Console, title: str, found: Sequence[Row]) -> None:
    medians = {row.name: row.median for row in found}
    floor, peer = medians.get(rows.FLOOR), medians.get(rows.BETTERLEAKS)
    table = Table("command", "runs", "wall s", "processor s", "use %", "floors", "Betterleaks", "PSS MB", title=title)
    for row in found:
        run = medians[row.name]
        relative = (f"{run.wall_s / other.wall_s:.2f}" if other else "" for other in (floor, peer))
        figures = (f"{run.wall_s:.2f}", f"{run.cpu_s:.2f}", f"{run.use:.0f}", *relative, f"{run.pss_mb:.0f}")
        failure = f" (exit code {run.exit_code})" if run.exit_code not in ((0, 1) if row.own else (0,)) else ""
        table.add_row(row.name + failure, str(len(row.runs)), *figures)
    console.print(table)


def _targets(medians: Mapping[str, Measure]) -> Iterator[Target]:
    """Yield the figures that docs/performance.md promises, those whose rows were measured."""
    scan, one_job, floor, cores = medians[rows.SCAN], medians[rows.ONE_JOB], medians[rows.FLOOR], usable_cores()
    yield Target("wall time against one job", scan.wall_s / one_job.wall_s, 0.6)
    yield Target("processor use, %", scan.use, 180, at_least=True)
    yield Target("floors of a scan", scan.wall_s / floor.wall_s, 2.0)
    if rows.BETTERLEAKS in medians:
        yield Target("speed against Betterleaks", medians[rows.BETTERLEAKS].wall_s / scan.wall_s, 1.8, at_least=True)
    yield Target("PSS of a scan, MB", scan.pss_mb, 170 + 30 * max(cores - 2, 0))
    yield Target(f"{_SMALL}, s", medians[_SMALL].wall_s, 0.35)
    yield from (
        Target(f"{name}, s", medians[name].wall_s, 1) for name in (rows.ENGINE_AGAIN, rows.HOOK) if name in medians
    )
    yield Target("floors of flatten", medians[rows.FLATTEN].wall_s / floor.wall_s, 3.5)


def _print_targets(console: Console, targets: Sequence[Target]) -> None:
    table = Table("target", "measured", "limit", "holds")
    for target in targets:
        limit = f"{'at least' if target.at_least else 'at most'} {target.limit:g}"
        table.add_row(target.name, f"{target.value:.2f}", limit, "yes" if target.holds else "NO")
    console.print(table)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{usable_cores()} cores of {name}, Python {platform.python_version()}"


def _small_image(folder: Path) -> Path:
    from tests.images import image, layer

    files = {f"srv/{number}.txt": b"line of text\n" * 1600 for number in range(100)}
    return image(layer(files)).docker_archive(folder / "small.tar")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
