"""Scans layers and short texts with one ruleset."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.verify import HashingReader
from auditor.detect.confirm import Confirmer, Found
from auditor.detect.matcher import Matcher
from auditor.detect.paths import PathRules
from auditor.detect.rules import Ruleset
from auditor.errors import Damaged
from auditor.memory import return_large_blocks
from auditor.progress import Progress, Silent
from auditor.scan.inside import Inside, Look
from auditor.scan.layer import LayerPass
from auditor.scan.record import LayerRecord


class Scanner:
    """Scans layers, and short texts, with one ruleset. Close it to end its threads.

    With `content` false no file is searched: layers are only listed and verified.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        jobs: int = 2,
        progress: Progress | None = None,
        *,
        cache: Path | None = None,
        content: bool = True,
    ) -> None:
        return_large_blocks()
        self.ruleset = ruleset
        self.content = content
        self.progress = progress or Silent()
        self.path_rules = PathRules(ruleset)
        self.inside = Inside(self)
        self._matcher = Matcher(ruleset, cache)
        self._confirmer = Confirmer(ruleset)
        self._pool = ThreadPoolExecutor(max(1, jobs), "match")
        self._hasher = ThreadPoolExecutor(1, "hash")
        self._looker = ThreadPoolExecutor(1, "look")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._hasher.shutdown()
        self._looker.shutdown()

    def scan_text(self, text: str) -> list[Found]:
        """Return the secrets in a short text, by place in its UTF-8 bytes."""
        return self.scan_bytes(text.encode("utf-8", "surrogateescape"), "")

    def scan_bytes(self, data: bytes, path: str) -> list[Found]:
        """Return the secrets in a small file whose absolute path is given, or in a text of no file."""
        rules = self.path_rules.of([path.lstrip("/")]).get(0, []) if path else []
        return self._confirmer.confirm(data, self._matcher.hits(data), path, rules)

    def scan_layer(self, stream: BinaryIO, what: str, algorithm: str = "sha256") -> LayerRecord:
        """Read a layer to its end. Raises Damaged, naming `what`, on broken compression or tar data.

        `algorithm` is that of the record's digest.
        """
        sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
        packed = compression_of(sniffed.peek(8)[:8]) is not None
        raw = HashingReader(sniffed, algorithm if packed or algorithm != "sha256" else None, self.progress.advance)
        stored = io.BufferedReader(raw, 1 << 18)
        layer = LayerPass(self, decompressed(stored))
        try:
            layer.run()
            while stored.read(1 << 20):  # what follows the compressed data counts in the digest
                pass
        except Damaged as exc:
            raise Damaged(f"{what}: {exc}") from exc
        return layer.record(raw)

    def submit_hash(self, update: Callable[[memoryview], None], view: memoryview) -> Future[None]:
        """Hash in the one hashing thread, in order."""
        return self._hasher.submit(update, view)

    def submit_match(self, view: memoryview) -> Future[list[tuple[int, int]]]:
        """Match in some thread: (rule number, end) for each raw hit."""
        return self._pool.submit(self._matcher.hits if self.content else _no_hits, view)

    def submit_look(self, entry: int, path: str, content: bytes, *, known: bool) -> Future[Look]:
        """Open a file in the one thread that does so: what is unpacked takes memory."""
        return self._looker.submit(self.inside.look, entry, path, content, known)

    def confirm(
        self,
        text: memoryview,
        hits: Sequence[tuple[int, int]],
        path: str,
        path_rules: Sequence[int],
        ends_in: tuple[int, int],
    ) -> list[Found]:
        """Confirm raw hits in one file, or a part of it."""
        return self._confirmer.confirm(text, hits, path, path_rules, ends_in)


def _no_hits(_: memoryview) -> list[tuple[int, int]]:
    return []
