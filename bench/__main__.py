"""`make bench`: this program, the floor, and every peer that is installed, side by side in one run.

`IMAGE=file.tar make bench` measures on an archive of yours, as `docker save` writes it; without one an archive of some
200 MB is made. Each command runs three times in turn; the table shows medians, and ratios to the floor.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = 3
PEERS = {
    "betterleaks": ["betterleaks", "dir", "--max-archive-depth=8", "--exit-code=0", "{image}"],
    "kingfisher": ["kingfisher", "scan", "--no-validate", "--no-update-check", "{image}"],
    "trivy": ["trivy", "image", "--scanners", "secret", "--input", "{image}"],
}


def main() -> None:
    """Measure and print."""
    image = Path(os.environ["IMAGE"]) if os.environ.get("IMAGE") else _synthetic()
    cache = tempfile.mkdtemp(prefix="image-audit-bench-")
    commands = {
        "floor: read, hash, match": [sys.executable, "-m", "bench.floor", str(image), cache],
        "image-audit scan": [sys.executable, "-m", "auditor", "scan", str(image), "-q", "--cache-dir", cache],
    }
    for name, command in PEERS.items():
        if shutil.which(command[0]):
            commands[name] = [part.format(image=image) for part in command]
    for command in list(commands.values())[:2]:
        subprocess.run(command, capture_output=True, check=False)  # compiles the rules once, warms the page cache
    runs = {name: [_measure(command) for _ in range(ROUNDS)] for name, command in commands.items()}
    _print(image, runs)
    shutil.rmtree(cache)


def _measure(command: list[str]) -> tuple[float, float]:
    """Return seconds and peak memory, in MB, of one run and its children."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6


def _print(image: Path, runs: dict[str, list[tuple[float, float]]]) -> None:
    floor = statistics.median(seconds for seconds, _ in next(iter(runs.values())))
    table = Table(
        "command", "median s", "of the floor", "peak MB", title=f"{image} ({image.stat().st_size / 1e6:.0f} MB)"
    )
    for name, rows in runs.items():
        seconds = statistics.median(row[0] for row in rows)
        memory = max(row[1] for row in rows)
        table.add_row(name, f"{seconds:.2f}", f"{seconds / floor:.1f}", f"{memory:.0f}")
    Console(width=100).print(table)


def _synthetic() -> Path:
    """Return an archive that is made once, in a process of its own: what ours takes would count for its children."""
    path = Path("build/bench/image.tar")
    if not path.exists():
        subprocess.run([sys.executable, "-m", "bench.synthetic", str(path)], check=True)
    return path


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
