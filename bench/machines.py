"""Sweeps of new images by one Dask worker and by four on this machine: `python -m bench.machines`.

Each of 100 images (`--images`) has one new layer of Python's standard library, 16 MB (`--megabytes`). The registry
sends files: file_registry.py. Workers have one thread of Dask, and use one core. The registry is near, that is on
loopback, or distant: distant.py. The time does not include the start of the workers and the creation of the store: both
remain between sweeps. A sweep of a few images comes before, in which the workers import the program and load the rules.

The two are measured in turn, three times (`--rounds`), and the medians compared: from one round to the next, the same
sweep may take 5 % longer. `processor-bound` is how many times as fast a sweep would be if it had its cores for itself,
from the processor times alone. The gain that this machine allows is measured with two plain scans, each bound to one
core, one after the other and side by side.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from auditor.__main__ import GC_THRESHOLD
from auditor.api import components, rulesets
from auditor.core.options import AuditOptions
from auditor.core.progress import Silent
from auditor.fleet.discovery.catalog import TagFilter, parse_scope
from auditor.fleet.execution.dask_engine import DaskEngine
from auditor.fleet.execution.engine import RegistryEndpoint
from auditor.fleet.execution.image_audits import ImageAudits
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.execution.sweep import Sweeper
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from bench import file_registry
from bench.measure import process_tree
from bench.servers import started
from tests.fleet.cluster import Cluster
from tests.images import digest

_WORKERS = (1, 4)

_COLUMNS = "workers", "registry", "seconds", "times as fast", "processor-bound", "processor: workers", "all others"
_TIMES = "wall_s", "workers_s", "others_s"

_SCANNED = 10
"""Images of each plain scan, and of the sweep before."""

_NEW, _BEFORE = "team", "before"
"""First part of the names of the repositories."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep: wall time, and processor seconds of the workers and of all other processes together."""

    workers: int
    wall_s: float
    workers_s: float
    others_s: float

    @property
    def least_s(self) -> float:
        """Seconds without other programs: of one worker, or of several workers and all others on all cores."""
        return self.workers_s if self.workers == 1 else (self.workers_s + self.others_s) / len(os.sched_getaffinity(0))


def fill(folder: Path, images: int, layer_bytes: int) -> None:
    """Write the images: their layers end in the same files, and start with one of their own."""
    shared = _tar(_sources(layer_bytes))
    packed = gzip.compress(shared, 1, mtime=0)
    repositories: dict[str, dict[str, tuple[bytes, bytes]]] = {}
    for number in range(images):
        repositories.setdefault(f"{_NEW}/app{number % 20}", {})[f"1.{number}"] = _image(number, shared, packed)
    before = range(images, images + _SCANNED)
    repositories[f"{_BEFORE}/app"] = {f"1.{number}": _image(number, shared, packed) for number in before}
    file_registry.write(folder, repositories)


def _image(number: int, files: bytes, packed: bytes) -> tuple[bytes, bytes]:
    """Return config and layer of an image: a file of its own, then others, which are also given in gzip."""
    own = _tar([("app/version", f"{number}\n".encode())])[: 2 * tarfile.BLOCKSIZE]  # without the end of the archive
    config = f'{{"rootfs": {{"type": "layers", "diff_ids": ["{digest(own + files)}"]}}}}'.encode()
    return config, gzip.compress(own, 1, mtime=0) + packed


def _sources(left: int) -> Iterator[tuple[str, bytes]]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        data = path.read_bytes()
        yield f"usr/lib/python{path}", data
        left -= len(data)
        if left < 0:
            return


def _tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def measured(address: str, images: int, workers: int) -> Run:
    """Sweep the registry into a new store; check that it saw every image."""
    with tempfile.TemporaryDirectory() as folder, _cluster(Path(folder), workers) as cluster:
        sweep(f"{address}/{_BEFORE}", cluster, Path(folder))
        before = _processor_s(cluster)
        began = time.monotonic()
        audited = sweep(f"{address}/{_NEW}", cluster, Path(folder))
        wall_s = time.monotonic() - began
        after = _processor_s(cluster)
    assert audited == images, audited
    return Run(workers, wall_s, after[0] - before[0], after[1] - before[1])


def _store(folder: str | Path) -> str:
    return f"sqlite:///{folder}/store.sqlite"


def sweep(address: str, cluster: Cluster, folder: Path) -> int:
    """Sweep once as `registry scan --engine dask` does; return the number of audited images."""
    scope, options = parse_scope(address, None), AuditOptions()
    endpoint = RegistryEndpoint(scope.host)
    plan = SweepPlan(scope, TagFilter({}), endpoint, lambda: "2026-11-24T00:00:00Z")
    with (
        closing(SweepStore(_store(folder))) as store,
        components.scanner(options, rulesets.ruleset(options)) as scanner,
        closing(
            DaskEngine(
                cluster.address, endpoint, scanner.ruleset, store.key,
                name="bench", parallel=plan.parallel, progress=Silent(),
            )
        ) as engine,
    ):  # fmt: skip
        audits = partial(ImageAudits, store, scanner, engine, plan)
        number = Sweeper(store, plan, endpoint.client(), scanner.ruleset.digest, Silent(), audits).run()
        return queries.counts(store, number)["images"]


@contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    cluster = Cluster(folder, {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"})
    try:
        for _ in range(workers):
            cluster.add_worker()
        cluster.wait_for(workers)
        yield cluster
    finally:
        cluster.close()


def _processor_s(cluster: Cluster) -> tuple[float, float]:
    """Return the processor seconds so far: of the workers, and of the sweep, the scheduler and the registry."""
    workers = set(cluster.workers)
    others = set(process_tree(os.getpid())) - workers
    return sum(map(_used_s, workers)), sum(map(_used_s, others))


def _used_s(process: int) -> float:
    """Return the processor seconds of a process, 0 if it has ended. Source: proc_pid_stat(5), `utime` and `stime`."""
    try:
        numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def two_scans(address: str) -> tuple[float, float]:
    """Return the seconds of two scans, each on one core: one after the other, and side by side."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    began = time.monotonic()
    for number in range(2):
        _ended(_scan(address, number, cores[0]))
    between = time.monotonic()
    for process in [_scan(address, number, core) for number, core in enumerate(cores)]:
        _ended(process)
    return between - began, time.monotonic() - between


def _scan(address: str, number: int, core: int) -> subprocess.Popen[bytes]:
    """Start a scan of some images, of others for each number, bound to a core."""
    numbers = range(number * _SCANNED, (number + 1) * _SCANNED)
    images = [f"{address}/{_NEW}/app{one % 20}:1.{one}" for one in numbers]
    command = [sys.executable, "-m", "auditor", "scan", *images, "--no-cache", "--quiet", "--fail-on", "never"]
    bind = f"import os, sys; os.sched_setaffinity(0, {{{core}}}); os.execv(sys.executable, sys.argv[1:])"
    return subprocess.Popen([sys.executable, "-c", bind, *command], stdout=subprocess.DEVNULL)


def _ended(process: subprocess.Popen[bytes]) -> None:
    assert process.wait() == 0, process.returncode


@contextmanager
def registry(images: int, layer_bytes: int) -> Iterator[str]:
    """Start a registry with the images; yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), images, layer_bytes)
        with started("bench.file_registry", folder) as address:
            yield address


@contextmanager
def distant(address: str) -> Iterator[str]:
    """Start a relay to a registry; yield its address."""
    with started("bench.distant", address.rpartition(":")[2]) as own:
        yield own


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweeps of new images by one Dask worker and by four, as a table.")
    parser.add_argument("--images", type=int, default=100, help="number of images, at least 20")
    parser.add_argument("--megabytes", type=int, default=16, help="uncompressed size of a layer")
    parser.add_argument("--rounds", type=int, default=3, help="number of sweeps by one worker and by four")
    options = parser.parse_args()
    gc.set_threshold(GC_THRESHOLD)  # as the program does
    with components.scanner(AuditOptions(), rulesets.ruleset(AuditOptions())):
        pass  # the rules are compiled now
    print(f"{options.images} images, a new layer of {options.megabytes} MB each\n")
    _print_row(*_COLUMNS)
    _print_row("---", "---", *["--:"] * (len(_COLUMNS) - 2))
    with registry(options.images, options.megabytes * 1_000_000) as near, distant(near) as far:
        for name, address in (("near", near), ("distant", far)):
            _measure_rounds(name, address, options.images, options.rounds)
        alone, beside = two_scans(near)
    print(
        f"\nTwo scans of {_SCANNED} images: {alone:.1f} s one after the other on one core, {beside:.1f} s side by side "
        f"on two: {alone / beside:.2f} times as fast. More is not to be had on these cores."
    )


def _measure_rounds(name: str, address: str, images: int, rounds: int) -> None:
    """Print a row for each sweep, and one with the medians for each number of workers."""
    runs = list[list[Run]]()
    for _ in range(rounds):
        runs.append([measured(address, images, workers) for workers in _WORKERS])
        for run in runs[-1]:
            _print_run(name, run, runs[-1][0])
    medians = [_median(same) for same in zip(*runs, strict=True)]
    for run in medians:
        _print_run(f"{name}, median", run, medians[0])


def _median(runs: Sequence[Run]) -> Run:
    """Return the median of each time of sweeps by the same number of workers."""
    wall_s, workers_s, others_s = (median(getattr(run, time) for run in runs) for time in _TIMES)
    return Run(runs[0].workers, wall_s, workers_s, others_s)


def _print_run(name: str, run: Run, single: Run) -> None:
    """Print the row of a sweep, compared to that of a single worker."""
    _print_row(
        str(run.workers), name,
        f"{run.wall_s:.1f}", f"{single.wall_s / run.wall_s:.2f}", f"{single.least_s / run.least_s:.2f}",
        f"{run.workers_s:.1f} s", f"{run.others_s:.1f} s",
    )  # fmt: skip


def _print_row(*cells: str) -> None:
    """Print a row at once: the measures take minutes."""
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
