"""How far a layer is read ahead of the scans of its pieces."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from unittest.mock import create_autospec

import pytest

from auditor.scan import scan_threads
from auditor.scan.piece import PieceResult
from auditor.scan.scan_pool import SameThread, ScanPool
from auditor.scan.scan_threads import ScanThreads


def waits(threads: ScanThreads, scan: Future[PieceResult], *, is_stream: bool) -> threading.Thread | None:
    """Add a piece of 100 bytes; return the thread that waits, None if it does not."""
    thread = threading.Thread(target=threads.wait, args=(100, scan), kwargs={"is_stream": is_stream})
    thread.start()
    thread.join(0.2)
    return thread if thread.is_alive() else None


@pytest.mark.parametrize(("is_stream", "free"), [(False, 4), (True, 0)])
def test_large_pieces_of_a_file_leave_no_worker_idle_and_those_in_memory_are_bounded(
    monkeypatch: pytest.MonkeyPatch, is_stream: bool, free: int
) -> None:
    monkeypatch.setattr(scan_threads, "_AHEAD", 99)
    monkeypatch.setattr(scan_threads, "_SPOOLED", 33)
    threads = ScanThreads(create_autospec(ScanPool), SameThread(), 2)
    scans = [Future[PieceResult]() for _ in range(free + 1)]
    for scan in scans[:-1]:
        assert waits(threads, scan, is_stream=is_stream) is None
    waiting = waits(threads, scans[-1], is_stream=is_stream)
    assert waiting is not None
    scans[0].cancel()
    waiting.join(10)
    assert not waiting.is_alive()
