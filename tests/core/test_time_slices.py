"""Long time slices: the policy of threads, their nice value, and threads that start meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auditor.core.time_slices import long_time_slices

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="policies of Linux")


def policies() -> set[int]:
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}


def current_nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


@pytest.fixture
def _usual() -> Iterator[None]:
    """Skip where this process has another policy, or may have no other."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        pytest.skip("the tests run with another policy")
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as exc:
        pytest.skip(f"the system has no other policy: {exc}")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    yield


@pytest.mark.usefixtures("_usual")
class TestUsualPolicy:
    def test_all_threads_have_long_slices_until_the_end(self) -> None:
        nice = current_nice()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(os.getpid).result()
            with long_time_slices():
                assert policies() == {os.SCHED_BATCH}
                assert current_nice() == nice
            assert policies() == {os.SCHED_OTHER}
            assert current_nice() == nice

    def test_a_thread_that_starts_meanwhile_is_set_back_too(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            with long_time_slices():
                assert pool.submit(os.sched_getscheduler, 0).result() == os.SCHED_BATCH
            assert pool.submit(os.sched_getscheduler, 0).result() == os.SCHED_OTHER

    def test_a_nice_process_stays_nice(self) -> None:
        code = (
            "import os\nfrom auditor.core.time_slices import long_time_slices\nos.nice(7)\n"
            "with long_time_slices():\n    print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split()[1] == str(os.SCHED_BATCH)
        assert int(done.stdout.split()[0]) == min(current_nice() + 7, 19)

    def test_an_idle_process_stays_idle(self) -> None:
        code = (
            "import os\nfrom auditor.core.time_slices import long_time_slices\n"
            "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
            "with long_time_slices():\n    print(os.sched_getscheduler(0))\nprint(os.sched_getscheduler(0))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(os.SCHED_IDLE)] * 2

    def test_the_slice_is_that_of_the_kernel_where_it_tells(self) -> None:
        sched = Path("/proc/self/sched")
        if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12) or not sched.exists():
            pytest.skip("a kernel without slices for each thread, or one that does not show them")
        with long_time_slices():
            line = next(line for line in sched.read_text().splitlines() if line.startswith("se.slice"))
            assert int(line.split()[-1]) == 100_000_000


def test_a_system_that_tells_no_policy_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = policies()

    def refused(_: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patched:
        patched.setattr(os, "sched_getscheduler", refused)
        with long_time_slices():
            pass
    assert policies() == before


def test_an_unknown_machine_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.core.time_slices._SYS_SCHED_SETATTR", {})
    before = policies()
    with long_time_slices():
        assert policies() == before
