"""Scans layers and short texts with one ruleset."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.hashing import HashingReader
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits
from auditor.core.process import return_large_blocks
from auditor.core.progress import Progress, Silent
from auditor.detect.confirm import Confirmer, Match, TruncationCallback, ignore_truncation, prepare
from auditor.detect.hits import Hits, joined_hits, truncated_rules
from auditor.detect.matcher import Matcher
from auditor.detect.rules import Ruleset
from auditor.layers.listing import Listing
from auditor.scan.file_content import BufferedContent, StreamedContent
from auditor.scan.inside import Inside, Look
from auditor.scan.layer import LayerPass
from auditor.scan.names import Name, secrets_in_lines, secrets_in_names
from auditor.scan.record import LayerRecord
from auditor.scan.text import Text


class Scanner:
    """Scans layers, and short texts, with one ruleset. Close it to end its threads.

    With `content` false no file is searched: layers are only listed and verified. `limits` hold for
    everything that it reads.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        jobs: int = 2,
        progress: Progress | None = None,
        *,
        cache: Path | None = None,
        content: bool = True,
        limits: Limits = DEFAULT,
    ) -> None:
        return_large_blocks()
        self.ruleset = ruleset
        self.content = content
        self.limits = limits
        self.progress = progress or Silent()
        self.inside = Inside(self)
        self._matcher = Matcher(ruleset, cache, limits)
        self.path_rules = self._matcher.paths
        self._confirmer = Confirmer(ruleset, limits)
        self._pool = ThreadPoolExecutor(max(1, jobs), "match")
        self._hasher = ThreadPoolExecutor(1, "hash")
        self._looker = ThreadPoolExecutor(max(1, jobs), "look")

    def prepare(self) -> None:
        """Import the libraries that threads need. Call it before a thread calls `scan_layer`."""
        if self.content:
            prepare()

    def close(self) -> None:
        """End the threads. What waits for one is dropped: after an interruption nobody wants it."""
        for pool in (self._pool, self._hasher, self._looker):
            pool.shutdown(cancel_futures=True)

    def scan_text(self, text: str, overrun: TruncationCallback = ignore_truncation) -> list[Match]:
        """Return the secrets in a short text, by place in its UTF-8 bytes."""
        return self.scan_texts([Text(text.encode("utf-8", "surrogateescape"), "")], overrun)[0]

    def scan_bytes(self, data: bytes, path: str) -> list[Match]:
        """Return the secrets in a small file whose absolute path is given, or in a text of no file."""
        return self.scan_texts([Text(data, path)])[0]

    def scan_texts(self, texts: Sequence[Text], overrun: TruncationCallback = ignore_truncation) -> list[list[Match]]:
        """Return the secrets in each of some texts, in one search for all."""
        hits: list[Hits] = [[] for _ in texts]
        wordless = [text.is_wordless for text in texts]
        for search, kind in ((self._matcher.hits, False), (self._matcher.token_hits, True)):
            chosen = [at for at, is_kind in enumerate(wordless) if is_kind is kind]
            for at, own in zip(chosen, joined_hits(search, [texts[at].data for at in chosen]), strict=True):
                hits[at] = own
        if sum(map(len, hits)) >= self.limits.raw_hits:
            self.tell_of(chain.from_iterable(hits), overrun)
        rules = self.path_rules.of([text.path.lstrip("/") for text in texts])
        return [
            self._confirm(text, hits[at], rules.get(at, ()), overrun) if hits[at] or at in rules else []
            for at, text in enumerate(texts)
        ]

    def scan_names(self, listing: Listing) -> Iterator[tuple[Name, Match]]:
        """Yield the secrets in the names and other header texts of a layer."""
        return secrets_in_names(listing, self._matcher.hits, self._confirm_line)

    def scan_lines(self, lines: Sequence[str]) -> Iterator[tuple[int, Match]]:
        """Yield the secrets in many short texts, with the number of each text."""
        return secrets_in_lines(lines, self._matcher.hits, self._confirm_line)

    def _confirm_line(self, text: bytes, hits: Hits) -> list[Match]:
        return self._confirmer.confirm(text, hits, "")

    def names_secrets(self, listing: Listing) -> bool:
        """Whether a secret stands in a layer's names."""
        return next(self.scan_names(listing), None) is not None

    def tell_of(self, hits: Iterable[tuple[int, int]], overrun: TruncationCallback) -> None:
        """Tell of the rules that have so many hits in one search that not all were kept."""
        for number in truncated_rules(list(hits), self.limits.raw_hits):
            overrun(self.ruleset.rules[number].id)

    def _confirm(self, text: Text, hits: Hits, rules: Sequence[int], overrun: TruncationCallback) -> list[Match]:
        if text.window is None:
            return self._confirmer.confirm(text.data, hits, text.path, rules, overrun=overrun)
        low, high = text.window.owned_from - text.window.start, text.window.owned_to - text.window.start
        own = [(rule, end) for rule, end in hits if low <= end < high]
        return self._confirmer.confirm(text.data, own, text.path, rules, (low, high), overrun)

    def scan_layer(self, stream: BinaryIO, what: str, algorithm: str = "sha256") -> LayerRecord:
        """Read a layer to its end. Raises Damaged, naming `what`, on broken compression or tar data.

        `algorithm` is that of the record's digest.
        """
        self.prepare()
        sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
        packed = compression_of(sniffed.peek(8)[:8]) is not None
        raw = HashingReader(sniffed, algorithm if packed or algorithm != "sha256" else None, self.progress.advance)
        stored = io.BufferedReader(raw, 1 << 18)
        layer = LayerPass(self, decompressed(stored, self.limits))
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

    def submit_match(self, view: memoryview, text: Sequence[tuple[int, int]]) -> Future[Hits]:
        """Match in some thread, in the ranges of `text` by all rules: (rule number, end) for each raw hit."""
        return self._pool.submit(self._matcher.hits if self.content else _no_hits, view, text)

    def submit_look(
        self, entry: int, path: str, content: BufferedContent | StreamedContent, *, known: bool
    ) -> Future[Look]:
        """Open a file in some thread."""
        look = self._looker.submit(self.inside.look, entry, path, content, known)
        if isinstance(content, StreamedContent):
            look.add_done_callback(lambda _: content.stop())
        return look

    def confirm(
        self,
        text: memoryview,
        hits: Sequence[tuple[int, int]],
        path: str,
        path_rules: Sequence[int],
        ends_in: tuple[int, int],
        overrun: TruncationCallback,
    ) -> list[Match]:
        """Confirm raw hits in one file, or a part of it."""
        return self._confirmer.confirm(text, hits, path, path_rules, ends_in, overrun)


def _no_hits(_: memoryview, __: Sequence[tuple[int, int]]) -> Hits:
    return []
