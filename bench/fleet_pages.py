"""Pages of the dashboard and `where`, from the store of a sweep: number, size, time, memory.

`python -m bench.fleet_pages URL OWNERS` measures in a process of its own and prints JSON; each owner has the
repositories of one folder, `team000` and so on.
"""

from __future__ import annotations

import gc
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from auditor.__main__ import GC_THRESHOLD
from auditor.core.cache_folder import cache_folder
from auditor.core.clock import timestamp, today, utc_now
from auditor.core.owner_options import OwnerOptions
from auditor.fleet.dashboard.pages import render_pages, site_lists
from auditor.fleet.dashboard.view import sweep_view
from auditor.fleet.remediation.locations import locate, locations_text
from auditor.fleet.remediation.open_secrets import host_of
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.report.html.page import cache_templates

_RUNS = 9


@dataclass(frozen=True, slots=True)
class Pages:
    """The dashboard of a sweep. `view_s` are the seconds of the queries and lists, `write_s` of all files.

    Milliseconds are those of the processor in this process, because a page and a look-up are too short to compare on a
    busy machine. `slowest_ms` and `largest_kb` are of single HTML pages, except that the first one, which includes the
    loading of the templates, is `first_ms`. `memory_mb` is the peak of the process. `where_ms` is the median of looking
    up the secret in most images, `where_text_ms` that of the text of its locations.
    """

    pages: int
    view_s: float
    write_s: float
    first_ms: float
    slowest_ms: float
    largest_kb: float
    memory_mb: float
    where_ms: float
    where_text_ms: float


def measured_pages(url: str, owners: int = 0) -> Pages:
    """Measure the dashboard of the last sweep in a new process."""
    command = [sys.executable, "-m", "bench.fleet_pages", url, str(owners)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Pages(**json.loads(done.stdout))


def _measure(store: SweepStore, owners: int) -> Pages:
    sweep = queries.last_sweep(store)
    assert sweep is not None
    names = [f"team{number:03}" for number in range(owners)]
    policy = Policy(today(), Owners({f"{host_of(sweep)}/{name}/**": OwnerOptions(name) for name in names}))
    where_ms, text_ms = _where_ms(store, sweep.id, policy)  # first: `where` runs without a dashboard in memory
    began = time.perf_counter()
    cache_templates(cache_folder())
    view = sweep_view(store, sweep, policy)
    lists = site_lists(view)
    view_s = time.perf_counter() - began
    times, largest, last = list[float](), 0, time.process_time()
    for name, text in render_pages(store, view, lists, timestamp(utc_now())):
        now = time.process_time()
        if name.endswith(".html"):
            times.append(1e3 * (now - last))
            largest = max(largest, len(text.encode()))
        last = time.process_time()
    write_s = time.perf_counter() - began - view_s
    return Pages(len(times), view_s, write_s, times[0], max(times[1:]), largest / 1e3, _peak_mb(), where_ms, text_ms)


def _peak_mb() -> float:
    """Return the peak memory of this process. `ru_maxrss` would be at least that of the process that started it."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6


def _where_ms(store: SweepStore, sweep: int, policy: Policy) -> tuple[float, float]:
    secret = queries.shared_secrets(queries.findings(store, sweep))[0].secret
    found = locate(store, secret, policy)
    return _median_ms(lambda: locate(store, secret, policy)), _median_ms(lambda: locations_text(found))


def _median_ms(work: Callable[[], object]) -> float:
    times = list[float]()
    for _ in range(_RUNS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    gc.set_threshold(GC_THRESHOLD)  # as the program does
    with closing(SweepStore(sys.argv[1])) as opened:
        print(json.dumps(asdict(_measure(opened, int(sys.argv[2])))))
