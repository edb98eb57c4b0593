"""Functions in forked processes. Each test forks a process of its own, because this one has threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import multiprocessing, os, signal, threading, time
from auditor.core.forked import may_fork, results_of_forks

def numbered(number):
    return lambda: (number, os.getpid())

def fail():
    raise ValueError("of a function")

def sleep():
    time.sleep(600)

assert may_fork()
"""
END = """
assert multiprocessing.active_children() == [] and threading.active_count() == 1 and may_fork()
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + code + END],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("most", [1, 2, 9])
def test_results_come_in_the_order_of_the_functions(most: int) -> None:
    run(f"""
results = results_of_forks([numbered(one) for one in range(5)], {most})
assert [number for number, _ in results] == [0, 1, 2, 3, 4]
assert len({{process for _, process in results}} | {{os.getpid()}}) == 6
""")


def test_a_large_result_arrives() -> None:
    run("assert [len(one) for one in results_of_forks([lambda: bytes(9_000_000)] * 3, 2)] == [9_000_000] * 3")


def test_the_exception_of_a_function_is_raised_and_ends_the_others() -> None:
    assert run("""
try:
    results_of_forks([sleep, fail, sleep], 2)
except ValueError as exc:
    print(exc)
""") == "of a function\n"  # fmt: skip


def test_a_process_that_is_killed_is_an_error_of_the_system() -> None:
    assert run("""
try:
    results_of_forks([lambda: os.kill(os.getpid(), signal.SIGKILL), sleep], 2)
except OSError as exc:
    print(exc)
""") == "a process ended without a result\n"  # fmt: skip


def test_an_interruption_leaves_no_process() -> None:
    assert run("""
signal.setitimer(signal.ITIMER_REAL, 0.2)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    results_of_forks([sleep, sleep, sleep], 2)
except KeyboardInterrupt:
    print("interrupted")
""") == "interrupted\n"  # fmt: skip


def test_a_process_with_threads_or_that_is_a_daemon_is_not_forked() -> None:
    run("""
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
assert not may_fork()
end.set()
thread.join()
assert results_of_forks([may_fork], 1) == [False]
""")
