"""Model of a scan on more cores than this machine has: `python -m bench.cores [ARCHIVE...]`.

One scan is measured: the start, the work of the parent, the work of the workers and the longest piece. The parent
hashes in a thread of its own, without the interpreter lock: what that takes is measured with one block of memory. Its
other work counts as one thread. The cores are taken to be as fast as those of this machine. So the model leaves out
what cores share: memory bandwidth, caches, and the clock of a busy processor.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from auditor.api import components, criteria, rulesets
from auditor.core.options import AuditOptions
from auditor.pipeline import Failure, Request, audit_each
from auditor.scan import Scanner
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records
from bench.real_images import NAMES, build

CORES = (2, 4, 8, 16, 32)
_ONE = "--one"


@dataclass(frozen=True, slots=True)
class Work:
    """Processor seconds of one scan, and the seconds of its longest piece."""

    start: float
    """Imports and rules."""
    report: float
    """File history, findings and report, after the last piece."""
    parent: float
    """Headers, pieces and merging, while workers scan."""
    hashes: float
    """SHA-256 of all layers, in a thread of the parent."""
    workers: float
    longest_piece: float
    pieces: int

    def limits(self, cores: int) -> dict[str, float]:
        """Return the parts of a scan that bound it on a number of cores, in seconds. The largest one is its time."""
        return {
            "cores": (self.parent + self.hashes + self.workers) / cores,
            "parent: headers, merging": self.parent,
            "hashes": self.hashes,
            "longest piece": self.longest_piece,
        }

    def seconds(self, cores: int) -> float:
        """Return the wall time of a scan on a number of cores."""
        return self.start + max(self.limits(cores).values()) + self.report

    def next_limit(self, cores: int) -> str:
        """Return the name of the largest part of that time."""
        parts = {**self.limits(cores), "start": self.start, "report": self.report}
        return max(parts, key=lambda name: parts[name])


def work_of(archive: str) -> Work:
    """Scan an archive with two workers, which knows none of its layers. Raises SystemExit where it can't be read."""
    options = AuditOptions(jobs=2)
    request = Request(None, None, False, criteria.selection(options, None))
    with tempfile.TemporaryDirectory() as folder, closing(LayerStore(Path(folder), lambda _: None)) as store:
        with components.scanner(options, rulesets.ruleset(options)) as scanner:
            started = _own_seconds()
            _audit(archive, scanner, request, store)
            scanned = _own_seconds()
            _audit(archive, scanner, request, store)  # its layers are known now
            report = _own_seconds() - scanned
        pieces = scanner.piece_seconds
    workers = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    hashes = Path(archive).stat().st_size * _hash_seconds()
    parent = scanned - started - report - hashes
    return Work(started, report, parent, hashes, workers, max(pieces), len(pieces))


def _hash_seconds() -> float:
    """Return the processor seconds of SHA-256 for each byte."""
    block, began = bytes(1 << 28), time.process_time()
    hashlib.sha256(block)
    return (time.process_time() - began) / len(block)


def _audit(archive: str, scanner: Scanner, request: Request, store: LayerStore) -> None:
    for result in audit_each(archive, scanner, request, Records(scanner, store)):
        if isinstance(result, Failure):
            raise SystemExit(str(result))


def _own_seconds() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def main() -> None:
    """Measure and print; each archive in a process of its own, because a second one would start for nothing."""
    if sys.argv[1:2] == [_ONE]:
        _print(sys.argv[2])
        return
    with components.scanner(AuditOptions(), rulesets.ruleset(AuditOptions())):
        pass  # the rules are compiled now
    for archive in sys.argv[1:] or map(build, NAMES):
        subprocess.run((sys.executable, "-m", "bench.cores", _ONE, archive), check=True)


def _print(archive: str) -> None:
    work, console = work_of(archive), Console(width=110)
    console.print(
        f"{Path(archive).name}: start {work.start:.2f} s, parent {work.parent:.2f} s, hashes {work.hashes:.2f} s, "
        f"workers {work.workers:.2f} s in {work.pieces} pieces, the longest {work.longest_piece:.2f} s, "
        f"report {work.report:.2f} s"
    )
    table = Table("cores", "seconds", "share of the ideal", "limit")
    total = work.start + work.parent + work.hashes + work.workers + work.report
    for cores in CORES:
        seconds = work.seconds(cores)
        table.add_row(str(cores), f"{seconds:.2f}", f"{total / cores / seconds:.0%}", work.next_limit(cores))
    console.print(table)


if __name__ == "__main__":
    main()
