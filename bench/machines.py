"""Sweeps of 200 new images by one Dask worker and by four on this machine: `python -m bench.machines`.

Each image has one new layer of Python's standard library, 16 MB or as `--megabytes` says. The registry sends files:
file_registry.py. Workers have one thread of Dask, beside which a layer is downloaded, hashed and decompressed. One
worker therefore uses more than one core, and is also measured bound to one, as by the limit of a container. The
registry is near, that is on loopback, or distant: distant.py. The time does not include the start of the workers and
the creation of the store: both remain between sweeps.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

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

IMAGES = 200
WORKERS = ((1, True), (1, False), (4, False))
"""Number of workers, and whether they are bound to one core."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep: wall time, and processor seconds of the workers and of all other processes together."""

    workers: int
    is_bound: bool
    wall_s: float
    workers_s: float
    others_s: float


def fill(folder: Path, layer_bytes: int) -> None:
    """Write the images: their layers end in the same files, and start with one of their own."""
    shared = _tar(_sources(layer_bytes))
    packed = gzip.compress(shared, 1, mtime=0)
    repositories: dict[str, dict[str, tuple[bytes, bytes]]] = {}
    for number in range(IMAGES):
        own = _tar([("app/version", f"{number}\n".encode())])[: 2 * tarfile.BLOCKSIZE]  # without the end of the archive
        layer = gzip.compress(own, 1, mtime=0) + packed
        config = f'{{"rootfs": {{"type": "layers", "diff_ids": ["{digest(own + shared)}"]}}}}'.encode()
        repositories.setdefault(f"team/app{number % 20}", {})[f"1.{number}"] = (config, layer)
    file_registry.write(folder, repositories)


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


def measured(address: str, workers: int, *, is_bound: bool) -> Run:
    """Sweep the registry into a new store."""
    with tempfile.TemporaryDirectory() as folder, _cluster(Path(folder), workers) as cluster:
        if is_bound:
            for worker in cluster.workers:
                _bind(worker)
        SweepStore(_store(folder)).close()  # the tables: the next sweeps have them
        before = _processor_s(cluster)
        began = time.monotonic()
        images = sweep(address, cluster, Path(folder))
        wall_s = time.monotonic() - began
        after = _processor_s(cluster)
    assert images == IMAGES, images
    return Run(workers, is_bound, wall_s, after[0] - before[0], after[1] - before[1])


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


def _bind(process: int) -> None:
    """Bind all threads of a process, and those that they start, to one core."""
    core = min(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def _processor_s(cluster: Cluster) -> tuple[float, float]:
    """Return the processor seconds so far: of the workers, and of the sweep, the scheduler and the registry."""
    workers = set(cluster.workers)
    others = set(process_tree(os.getpid())) - workers
    return sum(map(_used_s, workers)), sum(map(_used_s, others))


def _used_s(process: int) -> float:
    """Return the processor seconds of a process. Source: proc_pid_stat(5), `utime` and `stime`."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def registry(layer_bytes: int) -> Iterator[str]:
    """Start a registry with the images; yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), layer_bytes)
        with started("bench.file_registry", folder) as address:
            yield address


@contextmanager
def distant(address: str) -> Iterator[str]:
    """Start a relay to a registry; yield its address."""
    with started("bench.distant", address.rpartition(":")[2]) as own:
        yield own


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweeps of new images by one Dask worker and by four, as a table.")
    parser.add_argument("--megabytes", type=int, default=16, help="uncompressed size of a layer")
    layer_bytes = parser.parse_args().megabytes * 1_000_000
    with components.scanner(AuditOptions(), rulesets.ruleset(AuditOptions())):
        pass  # the rules are compiled now
    with registry(layer_bytes) as near, distant(near) as far:
        runs = [measured(place, workers, is_bound=is_bound) for place in (near, far) for workers, is_bound in WORKERS]
    table = Table("workers", "registry", "seconds", "times as fast", "processor: workers", "all others")
    for number, run in enumerate(runs):
        is_far = number >= len(WORKERS)
        base = runs[len(WORKERS) * is_far]
        table.add_row(
            f"{run.workers}{', on one core' if run.is_bound else ''}", "distant" if is_far else "near",
            f"{run.wall_s:.1f}", f"{base.wall_s / run.wall_s:.2f}", f"{run.workers_s:.1f} s", f"{run.others_s:.1f} s",
        )  # fmt: skip
    Console(width=110).print(f"{IMAGES} images, a new layer of {layer_bytes / 1e6:.0f} MB each", table)


if __name__ == "__main__":
    main()
