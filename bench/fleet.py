"""Sweeps of a simulated registry of any size, beside a bare walk over its tags; store, memory, dashboard, `where`.

`make bench-fleet`, or `python -m bench.fleet --images 50000 --database postgresql`. The registry runs in a process of
its own (simulated_registry.py). Records of its layers are in the store before the first sweep, so that no layer is
read: what remains is the cost of tags, manifests, audits and rows. The *bare walk* requests every tag list and the
digest of every tag, one after the other, with the HTTP library of the sweep.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from auditor.codec.descriptors import ACCEPT
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from bench.fleet_pages import Pages, measured_pages
from bench.fleet_records import plant
from bench.fleet_store import databases, stored_bytes
from bench.measure import Measure, measured
from bench.simulated_content import FakeRegistry

SIZES = (5_000,)
DATABASES = ("sqlite", "postgresql")
_MODEL = 1_000_000
_TARGETS = "again at most 1.3 walks, memory 300 MB, store 1.5 kB, pages 200 kB and 300 ms, where 100 ms"


@dataclass(frozen=True, slots=True)
class Walk:
    """The bare walk: seconds of the wall clock and of the processor."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """Measures of one size and database. `store` is bytes per image, layer records excluded."""

    images: int
    database: str
    walk: Walk
    first: Measure
    again: Measure
    new_tag: Measure
    store: float
    pages: Pages

    @property
    def times_the_walk(self) -> float:
        """Duration of the second sweep, in bare walks."""
        return self.again.wall_s / self.walk.wall_s


@contextmanager
def simulated_registry(images: int) -> Iterator[str]:
    """Start a registry; yield its address."""
    command = [sys.executable, "-m", "bench.simulated_registry", str(images)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def bare_walk(address: str) -> Walk:
    """Request the catalog, every tag list and the digest of every tag, one after the other."""
    began, cpu = time.perf_counter(), time.process_time()
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept"] = ACCEPT
        path = "/v2/_catalog"
        while path:
            page = session.get(f"http://{address}{path}")
            for name in page.json()["repositories"]:
                for tag in session.get(f"http://{address}/v2/{name}/tags/list?n=1000").json()["tags"]:
                    answer = session.head(f"http://{address}/v2/{name}/manifests/{tag}")
                    assert answer.headers["Docker-Content-Digest"]
            path = page.links.get("next", {}).get("url", "")
    return Walk(time.perf_counter() - began, time.process_time() - cpu)


def sweep(address: str, url: str, folder: Path, images: int) -> Measure:
    """Sweep the registry with the command; check that it saw every image."""
    command = [sys.executable, "-m", "auditor", "registry", "scan", address, "--store", url, "--format", "json",
               "--fail-on", "never"]  # fmt: skip
    run = measured(command, folder)
    assert run.exit_code == 0, f"exit code {run.exit_code}"
    with closing(SweepStore(url)) as store:
        counts = queries.sweeps(store)[-1].counts
    assert (counts["images"], counts["failed"], counts["layers_read"]) == (images, 0, 0), counts
    return run


def measured_row(images: int, database: str, folder: Path) -> Row:
    """Measure one size with one database."""
    registry = FakeRegistry(images)
    with simulated_registry(images) as address, databases(database, folder) as url:
        plant(url, registry)
        planted = stored_bytes(url)
        walk = bare_walk(address)
        first = sweep(address, url, folder, images)
        again = sweep(address, url, folder, images)
        store = (stored_bytes(url) - planted) / images
        requests.get(f"http://{address}/publish", timeout=10).raise_for_status()
        new_tag = sweep(address, url, folder, images + 1)
        return Row(images, database, walk, first, again, new_tag, store, measured_pages(url))
