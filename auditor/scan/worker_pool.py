"""Worker processes that scan pieces of layers: the side of the parent.

One thread for each worker sends it a piece and waits for the result. A worker that dies is replaced, and its piece is
scanned once more. The processes are forked where that is safe, before any other thread exists; otherwise they are
started anew and load the compiled rules from the cache.
"""

from __future__ import annotations

import gc
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe

from auditor.codec.file_slices import SharedFile
from auditor.core.dataclass import dataclass
from auditor.core.forked import may_fork
from auditor.scan import worker
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_scan import PieceScanner, Recipe
from auditor.scan.scan_pool import PieceLost


@dataclass(frozen=True, slots=True)
class _Job:
    piece: Piece
    file: SharedFile
    scan: Future[PieceResult]

    def cancel(self) -> None:
        self.scan.cancel()
        if self.piece.is_pipe:
            self.file.close()


class WorkerPool:
    """`count` processes that scan pieces, the most expensive first.

    `seconds` are the processor times of all scans so far.
    """

    def __init__(self, scanner: PieceScanner, count: int) -> None:
        self.seconds: list[float] = []
        self._scanner = scanner
        self._jobs: queue.PriorityQueue[tuple[int, int, _Job | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._closed = False
        if may_fork():
            self._workers = _fork(scanner, count)
        else:
            self._workers = [_start(scanner) for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name="worker", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, piece: Piece, file: SharedFile) -> Future[PieceResult]:
        """Schedule the scan of a piece."""
        job = _Job(piece, file, Future())
        self._jobs.put((-piece.cost, next(self._numbers), job))
        return job.scan

    def close(self) -> None:
        """Cancel the scans that have not begun, and end the processes."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                _, _, job = self._jobs.get_nowait()
                if job is not None:
                    job.cancel()
        for one in self._workers:
            one.stop()
        for _ in self._threads:
            self._jobs.put((0, next(self._numbers), None))
        for thread in self._threads:
            thread.join()
        for one in self._workers:  # one may have been replaced meanwhile
            one.stop()

    def _serve(self, number: int) -> None:
        while not self._closed:
            _, _, job = self._jobs.get()
            if job is None:
                return
            if not job.scan.set_running_or_notify_cancel():
                job.cancel()
                continue
            try:
                answer = self._answer(number, job)
            except OSError as exc:  # no other process can be started
                answer = exc
            if isinstance(answer, Exception):
                job.scan.set_exception(answer)
            else:
                self.seconds.append(answer.seconds)
                job.scan.set_result(answer)

    def _answer(self, number: int, job: _Job) -> PieceResult | Exception:
        """Return what a worker answers for a piece; replace the worker where it dies. Raises OSError."""
        for _ in range(1 if job.piece.is_pipe else 2):
            try:
                return self._workers[number].scan(job.piece, job.file)
            except (EOFError, OSError):
                if self._closed:
                    break
                self._workers[number].stop()
                self._workers[number] = _start(self._scanner)
        return PieceLost()


class _Worker:
    """One worker process. `recipe` is that of its scanner where it does not have it yet."""

    def __init__(self, connection: Connection, pid: int, recipe: Recipe | None) -> None:
        self.connection, self.pid = connection, pid
        self._recipe = recipe
        self._stopped = False

    def scan(self, piece: Piece, file: SharedFile) -> PieceResult | Exception:
        """Return the result of a scan, or its exception. Raises EOFError and OSError where the process has ended."""
        try:
            if self._recipe is not None:
                self.connection.send(self._recipe)
                self._recipe = None
            reduction.send_handle(self.connection, file.descriptor, self.pid)
        finally:
            if piece.is_pipe:
                file.close()  # its writer must notice the end of the worker
        self.connection.send(piece)
        answer: PieceResult | Exception = self.connection.recv()
        return answer

    def stop(self) -> None:
        """End the process, even in the middle of a scan."""
        if not self._stopped:
            self._stopped = True
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.connection.close()


def _fork(scanner: PieceScanner, count: int) -> list[_Worker]:
    """Fork workers. They share the memory of this process, as far as neither side writes to it."""
    workers: list[_Worker] = []
    gc.collect()
    gc.freeze()  # a collection in a worker would write to every object
    try:
        for _ in range(count):
            own, theirs = Pipe()
            pid = os.fork()
            if not pid:
                worker.run(theirs, scanner)
            theirs.close()
            workers.append(_Worker(own, pid, None))
    except OSError:
        for one in workers:
            one.stop()
        raise
    finally:
        gc.unfreeze()
    return workers


def _start(scanner: PieceScanner) -> _Worker:
    """Start a worker in a new interpreter."""
    own, theirs = Pipe()
    number = theirs.fileno()
    process = subprocess.Popen(
        [sys.executable, "-c", f"from auditor.scan.worker import main; main({number})"],
        pass_fds=[number], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    process.returncode = 0  # `_Worker` waits for the process
    return _Worker(own, process.pid, scanner.recipe)
