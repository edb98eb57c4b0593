"""Execution of piece scans: in a thread of this process, or in worker processes (worker_pool.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from auditor.codec.file_slices import SharedFile
from auditor.codec.windows import OVERLAP, WINDOW
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_scan import PieceScanner

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ScanPool(Protocol):
    """Scans pieces, the most expensive first."""

    def submit(self, piece: Piece, file: SharedFile) -> Future[PieceResult]:
        """Schedule the scan of a piece whose bytes are in a file; the pool closes a pipe.

        The future raises Damaged, and PieceLost where the process was killed.
        """
        ...

    def close(self) -> None:
        """Cancel scans that have not begun, stop the others, and release threads and processes."""
        ...


class PieceLost(Exception):
    """The process that scanned a piece was killed, twice where the piece can be read again."""


class ScanThread:
    """One thread of this process, for small targets and where no process may be started.

    With a `SameThread` as the executor, it is that of the caller. A piece that comes through a pipe has another one.
    """

    def __init__(self, scanner: PieceScanner, executor: Executor) -> None:
        self._scanner, self._executor = scanner, executor
        self._pipes = ThreadPoolExecutor(1, "pipe")
        self._lock, self._buffer = threading.Lock(), bytearray(OVERLAP + WINDOW)

    def submit(self, piece: Piece, file: SharedFile) -> Future[PieceResult]:
        """Schedule the scan of a piece."""
        return (self._pipes if piece.is_pipe else self._executor).submit(self._scan, piece, file)

    def _scan(self, piece: Piece, file: SharedFile) -> PieceResult:
        try:
            with self._lock:
                return self._scanner.scan(piece, file, buffer=self._buffer)
        finally:
            if piece.is_pipe:
                file.close()  # its writer would wait for a reader

    def close(self) -> None:
        """End the threads after the scan in progress."""
        for executor in self._executor, self._pipes:
            executor.shutdown(cancel_futures=True)


class SameThread(Executor):
    """Calls each function at once, in the thread that submits it. After `shutdown`, by any thread, it refuses."""

    _is_shut_down = False

    def submit(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call a function; return its result, or its exception, as a future that is done. Raises CancelledError."""
        if self._is_shut_down:
            raise CancelledError
        future: Future[_T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as exc:
            future.set_exception(exc)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Refuse all further calls."""
        self._is_shut_down = True
