"""The model of a scan on more cores, and the measurement that the bench relies on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.__main__ import Target
from bench.cores import Work
from bench.measure import measured, process_tree
from bench.real_images import DOCKERFILES, NAMES

WORK = Work(start=0.25, report=0.5, parent=1.0, hashes=2.0, workers=9.0, longest_piece=1.0, pieces=300)


def test_few_cores_are_the_limit_of_a_scan() -> None:
    assert WORK.seconds(4) == 0.25 + 12 / 4 + 0.5
    assert WORK.next_limit(4) == "cores"


def test_on_many_cores_the_parent_is_the_limit() -> None:
    assert WORK.seconds(32) == 0.25 + 2 + 0.5
    assert WORK.next_limit(32) == "hashes"
    assert replace(WORK, parent=3.0).next_limit(32).startswith("parent")


def test_a_long_piece_is_a_limit_of_its_own() -> None:
    work = replace(WORK, longest_piece=5.0)
    assert work.seconds(32) == 0.25 + 5 + 0.5
    assert work.next_limit(32) == "longest piece"


def test_a_target_is_a_maximum_or_a_minimum() -> None:
    assert Target("wall time", 0.6, 0.6).holds
    assert not Target("wall time", 0.7, 0.6).holds
    assert Target("speed", 1.9, 1.8, at_least=True).holds
    assert not Target("speed", 1.7, 1.8, at_least=True).holds


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc of Linux")
def test_a_process_tree_has_children_of_any_thread() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= {*process_tree(os.getpid())}
    finally:
        child.communicate(b"\n")
    assert child.pid not in {*process_tree(os.getpid())}


def test_a_run_is_measured_with_its_exit_code() -> None:
    run = measured(("sh", "-c", "exit 3"))
    assert run.exit_code == 3
    assert run.wall_s > 0
    assert run.use == 100 * run.cpu_s / run.wall_s


def test_each_image_of_the_bench_begins_from_the_common_base() -> None:
    assert len(NAMES) == 4
    for name in NAMES:
        assert "\nFROM image-audit-bench/debian\n" in (DOCKERFILES / f"{name}.Dockerfile").read_text()
