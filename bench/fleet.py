"""Sweeps of a simulated registry of any size, beside a bare walk over its tags; store, memory, dashboard, `where`.

`make bench-fleet`, or `python -m bench.fleet --images 50000 --database postgresql`. The registry runs in a process of
its own (simulated_registry.py). Records of its layers are in the store before the first sweep, so that no layer is
read: what remains is the cost of tags, manifests, audits and rows. The *bare walk* (bare_walk.py) is a command too. Of
several walks and second sweeps the shortest counts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from bench.fleet_pages import Pages, measured_pages
from bench.fleet_records import plant
from bench.fleet_store import new_database, stored_bytes
from bench.measure import Measure, measured
from bench.servers import started
from bench.simulated_content import FakeRegistry

SIZES = (2_000, 5_000)
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
MODEL = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """Measures of one size and database. `store` is bytes per image, layer records excluded."""

    images: int
    database: str
    walk: Measure
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
    with started("bench.simulated_registry", str(images)) as address:
        yield address


def bare_walk(address: str, folder: Path) -> Measure:
    """Walk over the tags with the command, one request after the other."""
    run = measured([sys.executable, "-m", "bench.bare_walk", address], folder)
    assert run.exit_code == 0, f"exit code {run.exit_code}"
    return run


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


def measured_row(images: int, database: str) -> Row:
    """Measure one size with one database."""
    registry = FakeRegistry(images)
    folder = Path(tempfile.mkdtemp(prefix="bench-fleet-"))
    try:
        with simulated_registry(images) as address, new_database(database, folder) as url:
            plant(url, registry)
            planted = stored_bytes(url)
            walks = [bare_walk(address, folder)]
            first = sweep(address, url, folder, images)
            walks.append(bare_walk(address, folder))
            again = min((sweep(address, url, folder, images) for _ in walks), key=lambda one: one.wall_s)
            store = (stored_bytes(url) - planted) / images
            walks.append(bare_walk(address, folder))
            requests.get(f"http://{address}/publish", timeout=10).raise_for_status()
            new_tag = sweep(address, url, folder, images + 1)
            walk = min(walks, key=lambda one: one.wall_s)
            return Row(images, database, walk, first, again, new_tag, store, measured_pages(url))
    finally:
        shutil.rmtree(folder)


def table(rows: list[Row]) -> str:
    """Return the tables of sweeps, and of memory, store and pages."""
    lines = [
        "| images | store | bare walk | first sweep | second sweep | times the walk | one new tag |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.images:,} | {NAMES[row.database]} | {row.walk.wall_s:.2f} s | {row.first.wall_s:.0f} s "
        f"({row.first.cpu_s:.0f} s) | {row.again.wall_s:.2f} s ({row.again.cpu_s:.2f} s) "
        f"| {row.times_the_walk:.2f} | {row.new_tag.wall_s:.2f} s |"
        for row in rows
    ]
    lines += [
        "",
        "| images | store | memory, first | memory, second | bytes an image | pages | all pages | largest | slowest "
        "| memory | `where` |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        own = row.pages
        lines.append(
            f"| {row.images:,} | {NAMES[row.database]} | {row.first.pss_mb:.0f} MB | {row.again.pss_mb:.0f} MB "
            f"| {row.store:.0f} | {own.pages:,} | {own.view_s + own.write_s:.0f} s | {own.largest_kb:.0f} kB "
            f"| {own.slowest_ms:.0f} ms ({own.first_ms:.0f} ms) | {own.memory_mb:.0f} MB | {own.where_ms:.0f} ms |"
        )
    return "\n".join(lines)


def model(rows: list[Row]) -> str:
    """Return the estimate for a million images: each cost is the one of the largest measured size, by image."""
    lines = [f"| {MODEL:,} images | bare walk | first sweep | second sweep | store |", "|---|--:|--:|--:|--:|"]
    for database in dict.fromkeys(row.database for row in rows):
        largest = max((row for row in rows if row.database == database), key=lambda row: row.images)
        scale = MODEL / largest.images
        times = (largest.walk.wall_s, largest.first.wall_s, largest.again.wall_s)
        shown = " | ".join(f"{seconds * scale / 60:.0f} min" for seconds in times)
        lines.append(f"| {NAMES[database]} | {shown} | {largest.store * MODEL / 1e9:.1f} GB |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweeps of a simulated registry, as a table.")
    parser.add_argument("--images", type=int, action="append", help="number of images; repeatable", metavar="N")
    parser.add_argument("--database", choices=NAMES, action="append", help="repeatable; both by default")
    options = parser.parse_args()
    rows = [
        measured_row(images, database) for images in options.images or SIZES for database in options.database or NAMES
    ]
    print(f"{table(rows)}\n\n{model(rows)}")


if __name__ == "__main__":
    main()
