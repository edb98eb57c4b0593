"""Scan of several layers at once, in threads or worker processes."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.file_slices import FileSlice
from auditor.codec.hashing import HashingReader
from auditor.core.errors import Damaged
from auditor.core.forked import may_start_processes
from auditor.core.progress import Progress
from auditor.detect.detect_secrets_plugins import load_plugins
from auditor.published.image_lists import LayerLists
from auditor.scan.layer_scan import LayerScan
from auditor.scan.layer_stream import BlockBuffers, MemoryFiles, SliceFiles, SpooledFiles
from auditor.scan.piece_scan import PieceScanner, Recipe
from auditor.scan.record import LayerRecord
from auditor.scan.scan_pool import SameThread, ScanThread
from auditor.scan.scan_threads import ScanThreads
from auditor.scan.searcher import Searcher
from auditor.scan.worker_pool import WorkerPool

_SMALL = 32 << 20
"""Bytes of layers that are scanned faster by one thread than processes are started."""


class ParallelScan:
    """Scans layers with up to `jobs` worker processes. Close it to end them."""

    def __init__(self, searcher: Searcher, recipe: Recipe, jobs: int, progress: Progress) -> None:
        self._limits, self._progress = searcher.limits, progress
        self._search_content = recipe.search_content
        self._pieces = PieceScanner(searcher, recipe)
        self._jobs = jobs
        self._threads: list[ScanThreads] = []  # the last are in use
        self._seconds: list[float] = []  # of processes that were released
        self._lock = threading.Lock()
        self._files, self._buffers = MemoryFiles(), BlockBuffers()

    @property
    def piece_seconds(self) -> list[float]:
        """Processor times of the scans by worker processes so far, one for each piece of a layer."""
        pools = (threads.pool for threads in self._threads)
        return [*self._seconds, *(time for pool in pools if isinstance(pool, WorkerPool) for time in pool.seconds)]

    def prepare(self, size: int | None) -> None:
        """Start worker processes where `size` is worth it, and import libraries: see `Scanner.prepare`."""
        if self._search_content:
            load_plugins()
        with self._lock:
            self._start(size)

    def _start(self, size: int | None) -> ScanThreads:
        """Return the threads to use for layers of `size` bytes."""
        is_parallel = any(isinstance(threads.pool, WorkerPool) for threads in self._threads)
        is_one = self._jobs == 1 or not may_start_processes()  # all work of a layer in one thread, on one core
        is_large = self._search_content and (size is None or size > _SMALL)
        if is_large and not is_one and not is_parallel:
            with suppress(OSError):  # too few processes, files or memory: one thread scans instead
                pool = WorkerPool(self._pieces, self._jobs)
                self._threads.append(ScanThreads(pool, ThreadPoolExecutor(1, "hash"), self._jobs))
        if not self._threads:
            scanning, hashing = (SameThread() if is_one else ThreadPoolExecutor(1, name) for name in ("scan", "hash"))
            self._threads.append(ScanThreads(ScanThread(self._pieces, scanning), hashing, 1))
        return self._threads[-1]

    def release(self) -> None:
        """End threads and processes while no layer is read; the next layer starts new ones."""
        with self._lock:
            self._seconds = self.piece_seconds
            self.close()
            self._threads.clear()

    def close(self) -> None:
        """End threads and processes; work that has not started is cancelled."""
        for threads in self._threads:
            threads.close()
        self._files.clear()
        self._buffers.clear()

    def read_layer(
        self, stream: BinaryIO, name: str, algorithm: str, content: FileSlice | None, lists: LayerLists
    ) -> Callable[[], LayerRecord]:
        """Read a layer; return a function that waits for the scan and returns the record: see `Scanner.read_layer`."""
        if self._search_content:
            load_plugins()
        sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
        is_compressed = compression_of(sniffed.peek(8)[:8]) is not None
        hashed = algorithm if is_compressed or algorithm != "sha256" else None  # else the diff_id is the digest
        raw = HashingReader(sniffed, hashed, self._progress.advance)
        stored = io.BufferedReader(raw, 1 << 18)
        files = SpooledFiles(self._files) if is_compressed or content is None else SliceFiles(content)
        with self._lock:
            threads = self._start(content.size if content else 0)
        layer = LayerScan(decompressed(stored, self._limits), files, self._pieces, threads, lists)
        with _named(name), self._buffers.lend() as take:
            layer.run(take)
            while stored.read(1 << 20):  # bytes after the compressed data are part of the digest
                pass

        def record() -> LayerRecord:
            with _named(name):
                return layer.record(raw)

        return record


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Begin the message of Damaged with a name."""
    try:
        yield
    except Damaged as exc:
        raise Damaged(f"{name}: {exc}") from exc
