"""Scanner of layers, with one ruleset."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from auditor.codec.file_slices import FileSlice
from auditor.core.limits import DEFAULT, Limits
from auditor.core.process import return_large_blocks
from auditor.core.progress import Progress, Silent
from auditor.detect.rules import Ruleset
from auditor.published.image_lists import IgnoredLists, LayerLists
from auditor.scan.record import LayerRecord
from auditor.scan.searcher import Searcher

if TYPE_CHECKING:
    from auditor.scan.parallel_scan import ParallelScan


_OWN_MEMORY, _WORKER_MEMORY = 60 << 20, 60 << 20
"""Bytes that the parent and each worker use, measured as PSS; a worker's part of the spool is in them."""


def workers_within(memory: int | None, jobs: int) -> int:
    """Return how many of `jobs` workers fit into some bytes of memory; at least one, which is no process of its own."""
    return jobs if memory is None else max(1, min(jobs, (memory - _OWN_MEMORY) // _WORKER_MEMORY))


class Scanner:
    """Scans layers with `jobs` worker processes. Close it to end them.

    `searcher` also searches texts outside of layers. It may be that of another scanner with the same rules and limits.

    With `search_content` false layers are listed and verified, and no file is searched. With `extract_published`
    archives are extracted even if a distribution published them: see auditor/published.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        jobs: int = 2,
        progress: Progress | None = None,
        *,
        cache: Path | None = None,
        search_content: bool = True,
        limits: Limits = DEFAULT,
        extract_published: bool = False,
        searcher: Searcher | None = None,
    ) -> None:
        return_large_blocks()
        self.ruleset, self.limits = ruleset, limits
        self.search_content, self.extract_published = search_content, extract_published
        self.progress = progress or Silent()
        self.searcher = searcher or Searcher(ruleset, cache, limits, self.progress, jobs)
        self._cache, self.jobs = cache, jobs
        self._opened: ParallelScan | None = None
        self._lock = threading.Lock()

    @property
    def piece_seconds(self) -> list[float]:
        """Processor times of the scans by worker processes so far, one for each piece of a layer."""
        return self._opened.piece_seconds if self._opened else []

    def prepare(self, size: int | None = None) -> None:
        """Start the worker processes where layers of `size` bytes, None for an unknown number, are worth it.

        Call it before any thread is started that calls `scan_layer`: a process with threads is not forked. Imports the
        libraries that threads and processes need.
        """
        self._scan().prepare(size)

    def release(self) -> None:
        """End threads and processes while no layer is read; the next layer starts new ones."""
        if self._opened:
            self._opened.release()

    def close(self) -> None:
        """End threads and processes; work that has not started is cancelled."""
        if self._opened:
            self._opened.close()

    def scan_layer(
        self,
        stream: BinaryIO,
        name: str,
        algorithm: str = "sha256",
        content: FileSlice | None = None,
        lists: LayerLists | None = None,
    ) -> LayerRecord:
        """Scan a layer's stored bytes to their end. Raises Damaged, with `name`, on broken data.

        `algorithm` is that of the record's digest. `content` is the part of a file that `stream` reads, if it does.
        `lists` has the package lists of the layers below it.
        """
        return self.read_layer(stream, name, algorithm, content, lists)()

    def read_layer(
        self,
        stream: BinaryIO,
        name: str,
        algorithm: str = "sha256",
        content: FileSlice | None = None,
        lists: LayerLists | None = None,
    ) -> Callable[[], LayerRecord]:
        """Read a layer as `scan_layer` does; return a function that waits for the scan and returns the record."""
        lists = IgnoredLists() if self.extract_published else lists or LayerLists()
        scan = self._scan().read_layer(stream, name, algorithm, content, lists)

        def record() -> LayerRecord:
            found = scan()
            return replace(found, has_clean_headers=not self.searcher.has_header_secret(found.listing))

        return record

    def _scan(self) -> ParallelScan:
        """Return the scan, made for the first layer that is not in the cache."""
        # Archive formats, workers and their like take 0.04 s, which an audit of cached layers need not pay.
        from auditor.scan.parallel_scan import ParallelScan
        from auditor.scan.piece_scan import Recipe

        with self._lock:
            if self._opened is None:
                recipe = Recipe(self.ruleset, self._cache, self.limits, self.search_content)
                self._opened = ParallelScan(self.searcher, recipe, self.jobs, self.progress)
            return self._opened
