"""Execution of piece scans: in a thread of this process, or in worker processes (worker_pool.py)."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from auditor.codec.file_slices import SharedFile
from auditor.codec.windows import OVERLAP, WINDOW
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_scan import PieceScanner


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
    """One thread of this process, for small targets and where no process may be started."""

    def __init__(self, scanner: PieceScanner) -> None:
        self._scanner = scanner
        self._pool = ThreadPoolExecutor(1, "scan")
        self._buffer = bytearray(OVERLAP + WINDOW)

    def submit(self, piece: Piece, file: SharedFile) -> Future[PieceResult]:
        """Schedule the scan of a piece."""
        return self._pool.submit(self._scan, piece, file)

    def _scan(self, piece: Piece, file: SharedFile) -> PieceResult:
        try:
            return self._scanner.scan(piece, file, buffer=self._buffer)
        finally:
            if piece.is_pipe:
                file.close()  # its writer would wait for a reader

    def close(self) -> None:
        """End the thread after the scan in progress."""
        self._pool.shutdown(cancel_futures=True)
