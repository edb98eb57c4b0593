"""`make bench`: this program, the floor, and every peer that is installed, side by side in one run.

`IMAGE=file.tar make bench` measures on an archive of yours, as `docker save` writes it; without one an archive of some
200 MB is made. `ROUNDS` is how often each command runs, in turn (3); one that takes longer than a minute runs once.
The tables show medians, the ratio to the floor, and the peak memory of the command's largest process: what the Docker
engine takes for a peer is not in it. All rules are compiled before; what is known of layers is forgotten between runs,
but for the row that says again.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SLOW_S = 60
OURS = [sys.executable, "-m", "auditor"]
TAG = "image-audit-bench"

Measure = tuple[float, float]
"""Seconds, and peak memory in MB."""


@dataclass
class Row:
    """A command to be measured; `before` makes ready what each run needs, and is not measured."""

    name: str
    command: Sequence[str]
    before: Callable[[], object] = lambda: None
    shell: bool = False
    runs: list[Measure] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    image = Path(os.environ["IMAGE"]) if os.environ.get("IMAGE") else _synthetic()
    with tempfile.TemporaryDirectory(prefix="image-audit-bench-") as folder:
        scans = _scans(image, Path(folder))
        for row in scans[:2]:
            _measured(row)  # compiles the rules, warms the page cache
        console = Console(width=100)
        console.print(f"{image} ({image.stat().st_size / 1e6:.0f} MB), {_machine()}")
        _table(console, "scan", scans, scans[0])
        _table(console, "flatten, proof included", _rewrites(image, Path(folder)), scans[0])


def _table(console: Console, title: str, rows: Sequence[Row], floor: Row) -> None:
    """Run each command as often as is asked for, in turn, and print."""
    for _ in range(ROUNDS):
        for row in rows:
            if not row.runs or row.runs[0][0] < SLOW_S:
                row.runs.append(_measured(row))
    _print(console, title, rows, floor)


def _scans(image: Path, folder: Path) -> list[Row]:
    cache = str(folder / "image-audit")  # where flatten, which has no option for it, looks with XDG_CACHE_HOME
    scan = [*OURS, "scan", str(image), "-q", "--cache-dir", cache]

    def forget() -> None:
        subprocess.run([*OURS, "cache", "clear", "--cache-dir", cache], check=True, capture_output=True)

    rows = [
        Row("floor: read, hash, match", [sys.executable, "-m", "bench.floor", str(image), cache]),
        Row("image-audit scan", scan, forget),
        Row("image-audit scan, again", scan),
        Row("image-audit scan of nothing", [*OURS, "scan", str(_empty(folder)), "-q", "--cache-dir", cache]),
    ]
    peers = {
        "betterleaks": ["betterleaks", str(image), "--exit-code=0", "--no-banner", "-s"],
        "gitleaks": ["gitleaks", "dir", str(image), "--max-archive-depth=8", "--exit-code=0", "--no-banner"],
        "kingfisher": ["kingfisher", "scan", str(image), "--no-validate", "--no-update-check", "--no-limits"],
        "trivy": ["trivy", "image", "--scanners", "secret", "--input", str(image), "--quiet"],
    }
    return rows + [Row(name, command) for name, command in peers.items() if shutil.which(command[0])]


def _rewrites(image: Path, folder: Path) -> list[Row]:
    output = folder / "flat.tar"
    flatten = [*OURS, "flatten", str(image), "-o", str(output), "-q"]
    environment = {"XDG_CACHE_HOME": str(folder)}

    def forget() -> None:
        output.unlink(missing_ok=True)
        (folder / "image-audit" / "layers.sqlite").unlink(missing_ok=True)

    os.environ |= environment
    rows = [
        Row("image-audit flatten", flatten, forget),
        Row("image-audit flatten --excise", [*flatten, "--excise"], forget),
        Row("image-audit flatten --compress gzip", [*flatten, "--compress", "gzip"], forget),
    ]
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        loaded = subprocess.run(["docker", "load", "-i", str(image)], capture_output=True, text=True, check=True).stdout
        name = loaded.rpartition(": ")[2].strip()
        subprocess.run(["docker", "tag", name, TAG], check=True, capture_output=True)
        script = f"c=$(docker create {TAG} none) && docker export $c | docker import - {TAG}:flat && docker rm $c"
        rows.append(Row("docker export | docker import", [script], shell=True))
        if shutil.which("docker-squash"):
            rows.append(Row("docker-squash", ["docker-squash", TAG, "-t", f"{TAG}:squashed"]))
    return rows


def _measured(row: Row) -> Measure:
    """Return seconds and peak memory of one run."""
    row.before()
    began = time.perf_counter()
    process = subprocess.Popen(
        row.command[0] if row.shell else list(row.command),
        shell=row.shell,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if row.command[: len(OURS)] == OURS and process.returncode not in (0, 1):
        raise SystemExit(f"{row.name}: failed, and is no figure")
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6


def _print(console: Console, title: str, rows: Sequence[Row], floor: Row) -> None:
    least = statistics.median(seconds for seconds, _ in floor.runs)
    table = Table("command", "runs", "median s", "of the floor", "peak MB", title=title)
    for row in rows:
        seconds = statistics.median(run[0] for run in row.runs)
        memory = max(run[1] for run in row.runs)
        table.add_row(row.name, str(len(row.runs)), f"{seconds:.2f}", f"{seconds / least:.2f}", f"{memory:.0f}")
    console.print(table)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores of {name}, Python {platform.python_version()}"


def _empty(folder: Path) -> Path:
    from tests.images import image, layer

    return image(layer({"nothing": ""})).docker_archive(folder / "empty.tar")


def _synthetic() -> Path:
    """Return an archive that is made once, in a process of its own: what ours takes would count for its children."""
    path = Path("build/bench/image.tar")
    if not path.exists():
        subprocess.run([sys.executable, "-m", "bench.synthetic", str(path)], check=True)
    return path


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
