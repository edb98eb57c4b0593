"""Threads and processes of a scanner, which the scans of several layers share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future

from auditor.scan.piece import PieceResult
from auditor.scan.scan_pool import ScanPool

_SPOOLED = 12 << 20
"""Bytes of pieces in memory for each worker, and as many more."""
_AHEAD = 256 << 20
"""Bytes of files between those that are hashed and those that are searched: what the system still has in memory."""


class ScanThreads:
    """The pool that scans pieces, the executor that hashes, in order, and the bytes that wait for a scan."""

    def __init__(self, pool: ScanPool, hasher: Executor, jobs: int) -> None:
        self.pool = pool
        self.closed = False
        """Set when the run ends: layers in progress stop reading."""
        self._hasher = hasher
        self._spooled, self._ahead = _Backlog(_SPOOLED * (jobs + 1), 0), _Backlog(_AHEAD, 2 * jobs)

    def hash(self, update: Callable[[memoryview], None], view: memoryview) -> Future[None]:
        """Hash bytes, in the order of the calls."""
        return self._hasher.submit(update, view)

    def wait(self, size: int, scan: Future[PieceResult], *, is_stream: bool) -> None:
        """Count the bytes of a piece until its scan has ended, and wait while there are too many."""
        (self._spooled if is_stream else self._ahead).add(size, scan)

    def close(self) -> None:
        """Cancel the scans that have not begun, stop the others, and release threads and processes."""
        self.closed = True
        self.pool.close()
        self._hasher.shutdown(cancel_futures=True)


class _Backlog:
    """Bytes of pieces whose scan has not ended: at most `most`, or any number in at most `few` pieces.

    Without these, the other workers would have no piece while one of them scans a large archive.
    """

    def __init__(self, most: int, few: int) -> None:
        self._most, self._few = most, few
        self._size = self._count = 0
        self._changed = threading.Condition()

    def add(self, size: int, scan: Future[PieceResult]) -> None:
        with self._changed:
            self._size, self._count = self._size + size, self._count + 1
        scan.add_done_callback(lambda _: self._remove(size))
        with self._changed:
            self._changed.wait_for(lambda: self._size <= self._most or self._count <= self._few)

    def _remove(self, size: int) -> None:
        with self._changed:
            self._size, self._count = self._size - size, self._count - 1
            self._changed.notify_all()
