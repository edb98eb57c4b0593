"""Pages of the dashboard and `where`, from the store of a sweep: number, size, time, memory.

`python -m bench.fleet_pages URL` measures in a process of its own and prints JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass

from auditor.core.clock import timestamp, today, utc_now
from auditor.fleet.dashboard.pages import render_pages
from auditor.fleet.dashboard.view import sweep_view
from auditor.fleet.remediation.locations import locate
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore

_LOOK_UPS = 9


@dataclass(frozen=True, slots=True)
class Pages:
    """The dashboard of a sweep. `view_s` are the seconds of the queries, `write_s` of all files.

    `slowest_ms` and `largest_kb` are of single HTML pages. `memory_mb` is the peak of the process. `where_ms` is the
    median of looking up the secret in most images.
    """

    pages: int
    view_s: float
    write_s: float
    slowest_ms: float
    largest_kb: float
    memory_mb: float
    where_ms: float


def measured_pages(url: str) -> Pages:
    """Measure the dashboard of the last sweep in a new process."""
    done = subprocess.run([sys.executable, "-m", "bench.fleet_pages", url], capture_output=True, check=True)
    return Pages(**json.loads(done.stdout))


def _measure(store: SweepStore) -> Pages:
    sweep = queries.last_sweep(store)
    assert sweep is not None
    policy = Policy(today())
    began = time.perf_counter()
    view = sweep_view(store, sweep, policy)
    view_s = time.perf_counter() - began
    pages, slowest, largest, last = 0, 0.0, 0, time.perf_counter()
    for name, text in render_pages(store, view, timestamp(utc_now())):
        now = time.perf_counter()
        if name.endswith(".html"):
            pages, slowest, largest = pages + 1, max(slowest, now - last), max(largest, len(text.encode()))
        last = time.perf_counter()
    write_s = last - began - view_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return Pages(pages, view_s, write_s, slowest * 1e3, largest / 1e3, peak, _where_ms(store, sweep.id, policy))


def _where_ms(store: SweepStore, sweep: int, policy: Policy) -> float:
    secret, times = queries.shared_secrets(store, sweep)[0].secret, list[float]()
    for _ in range(_LOOK_UPS):
        began = time.perf_counter()
        assert locate(store, secret, policy).images
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    with closing(SweepStore(sys.argv[1])) as opened:
        print(json.dumps(asdict(_measure(opened))))
