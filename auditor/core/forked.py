"""Functions in forked processes, for libraries that hold the interpreter lock while they work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


def may_start_processes() -> bool:
    """Whether this process may have children: a daemon of `multiprocessing`, as workers of Dask are, may not."""
    return not multiprocessing.current_process().daemon


def may_fork() -> bool:
    """Whether this process can be forked safely: it has no other thread, whose locks the child would hold for ever."""
    return hasattr(os, "fork") and threading.active_count() == 1 and may_start_processes()


def results_of_forks(functions: Sequence[Callable[[], T]], most: int) -> list[T]:
    """Call functions in processes, `most` at once and the first ones first; return the results in their order.

    Raises the exception of a function, and OSError where a process can't be started or ends without a result. Call it
    where `may_fork` is true.
    """
    context = multiprocessing.get_context("fork")
    waiting, results, running = deque(enumerate(functions)), dict[int, T](), list[_Fork]()
    try:
        while waiting or running:
            while waiting and len(running) < most:
                number, function = waiting.popleft()
                own, theirs = Pipe(duplex=False)
                process = context.Process(target=_run, args=(function, own, theirs), daemon=True)
                running.append(_Fork(number, own, process))
                process.start()
                theirs.close()
            ready = wait([one.connection for one in running])
            for one in [one for one in running if one.connection in ready]:
                results[one.number] = one.result()
                running.remove(one)
                one.end()
    finally:
        for one in running:
            one.end()
    return [results[number] for number in range(len(functions))]


class _Fork(NamedTuple):
    """A process that calls a function."""

    number: int
    connection: Connection
    process: BaseProcess

    def result(self) -> Any:
        try:
            answer = self.connection.recv()
        except EOFError:
            raise ChildProcessError("a process ended without a result") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self.connection.close()
        if self.process.pid is not None:  # it was started
            self.process.kill()
            self.process.join()


def _run(function: Callable[[], object], theirs: Connection, connection: Connection) -> None:
    """Send the result of a function, or its exception. The parent ends this process when it is interrupted."""
    theirs.close()  # else nobody notices the end of the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        answer = function()
    except Exception as exc:
        answer = exc.with_traceback(None)
    with suppress(OSError):  # the parent has ended
        connection.send(answer)
