"""Measurement of a command with all its processes: wall time, processor time, memory."""

from __future__ import annotations

import compileall
import contextlib
import functools
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.core.cache_keys import PACKAGE

_SAMPLE_S = 0.1
_PAUSES = 25
"""Least pause between samples, in durations of one: the kernel takes 20 ms to add up the pages of a large scan."""
_PSS = re.compile(rb"^Pss: +(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Measure:
    """One run of a command, with the processes that it started and waited for.

    Memory is the peak of the tree's proportional set size (PSS), which counts shared pages once, in MB. It is sampled,
    so that shorter peaks are missed.
    """

    wall_s: float
    cpu_s: float
    pss_mb: float
    exit_code: int

    @property
    def use(self) -> float:
        """Processor use in percent of one core."""
        return 100 * self.cpu_s / self.wall_s


def measured(command: Sequence[str], folder: Path | None = None) -> Measure:
    """Run a command to its end in a folder, without its output. Processes of an engine are not measured."""
    _compile_package()
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, ended = [0.0], threading.Event()

    def sample() -> None:
        pause_s = _SAMPLE_S
        while not ended.wait(pause_s):
            before = time.perf_counter()
            peak[0] = max(peak[0], sum(map(_pss_mb, process_tree(process.pid))))
            pause_s = max(_SAMPLE_S, _PAUSES * (time.perf_counter() - before))

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    ended.set()
    sampler.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Measure(wall_s, usage.ru_utime + usage.ru_stime, peak[0], process.returncode)


@functools.cache
def _compile_package() -> None:
    """Compile the program to bytecode, as its installation does.

    With PYTHONDONTWRITEBYTECODE, each run would compile it, for a quarter of its start.
    """
    compileall.compile_dir(PACKAGE, quiet=2)


def process_tree(root: int) -> Iterator[int]:
    """Yield the ids of a process and of all its descendants that run now. Source: proc_pid_task(5), `children`."""
    yield root
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{root}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield from process_tree(int(child))


def _pss_mb(process: int) -> float:
    try:
        found = _PSS.search(Path(f"/proc/{process}/smaps_rollup").read_bytes())
    except OSError:  # it has ended
        return 0.0
    return int(found[1]) * 1024 / 1e6 if found else 0.0
