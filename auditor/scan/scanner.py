"""Scanner of layers, with one ruleset."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.hashing import HashingReader
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits
from auditor.core.process import return_large_blocks
from auditor.core.progress import Progress, Silent
from auditor.detect.detect_secrets_plugins import load_plugins
from auditor.detect.rules import Ruleset
from auditor.scan.extractor import Extractor
from auditor.scan.layer_scan import LayerScan
from auditor.scan.record import LayerRecord
from auditor.scan.scan_threads import ScanThreads
from auditor.scan.searcher import Searcher


class Scanner:
    """Scans layers in threads. Close it to end them. `searcher` searches texts outside of layers.

    With `search_content` false layers are listed and verified, and no file is searched.
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
    ) -> None:
        return_large_blocks()
        self.ruleset, self.limits = ruleset, limits
        self.search_content = search_content
        self.progress = progress or Silent()
        self.searcher = Searcher(ruleset, cache, limits)
        self._threads = ScanThreads(self.searcher, Extractor(self.searcher), jobs)

    def prepare(self) -> None:
        """Import the libraries that threads need. Call it before a thread calls `scan_layer`."""
        if self.search_content:
            load_plugins()

    def close(self) -> None:
        """End the threads; work that has not started is cancelled."""
        self._threads.close()

    def scan_layer(self, stream: BinaryIO, name: str, algorithm: str = "sha256") -> LayerRecord:
        """Scan a layer's stored bytes to their end. Raises Damaged, with `name`, on broken data.

        `algorithm` is that of the record's digest.
        """
        self.prepare()
        sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
        is_compressed = compression_of(sniffed.peek(8)[:8]) is not None
        hashed = algorithm if is_compressed or algorithm != "sha256" else None  # else the diff_id is the digest
        raw = HashingReader(sniffed, hashed, self.progress.advance)
        stored = io.BufferedReader(raw, 1 << 18)
        layer = LayerScan(
            decompressed(stored, self.limits), self.searcher, self._threads, search_content=self.search_content
        )
        try:
            layer.run()
            while stored.read(1 << 20):  # bytes after the compressed data are part of the digest
                pass
        except Damaged as exc:
            raise Damaged(f"{name}: {exc}") from exc
        return layer.record(raw)
