"""The costly half: one layer's bytes and a ruleset to a `LayerRecord`, a pure function.

A layer is read once, in windows. Of each window one thread computes the hash and another matches all rules over the
raw tar at once, files ignored; meanwhile this thread reads the headers. Raw hits are then mapped back to files and
confirmed. Reading, decompressing, hashing and matching release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.tar import BLOCK, Walker, is_header
from auditor.codec.verify import HashingReader
from auditor.detect.confirm import Confirmer, Found
from auditor.detect.matcher import Matcher
from auditor.detect.paths import PathRules
from auditor.detect.rules import Ruleset
from auditor.errors import Damaged
from auditor.layers.listing import Listing, plain_file
from auditor.layers.windows import OVERLAP, Window, WindowReader
from auditor.model import Confidence, DiffID, Digest, Secret
from auditor.progress import Progress, Silent

MAX_MATCHES = 1000
"""Matches of one file version that are kept; a file with more is noted as skipped from there on."""
_SNIFF = 8000  # bytes in which a zero byte means binary data, as for git
_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Match:
    """A secret in entry number `entry` of a listing, or in what is packed in it.

    `line` counts from 1, None in binary data; `offset` is the place in the file, in bytes.
    """

    entry: int
    rule: str
    secret: Secret
    line: int | None
    offset: int
    check: str
    confidence: Confidence
    member: str | None = None
    decoded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What a layer holds. `skipped` gives paths and reasons; `digest` and `size` are of the stored bytes."""

    digest: Digest
    size: int
    diff_id: DiffID
    uncompressed: int
    listing: Listing
    matches: tuple[Match, ...]
    skipped: tuple[tuple[str | None, str], ...]
    is_tar: bool
    decoded: int = 0


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
        self.ruleset = ruleset
        self._matcher = Matcher(ruleset, cache)
        self._confirmer = Confirmer(ruleset)
        self.path_rules = PathRules(ruleset)
        self._content = content
        self._pool = ThreadPoolExecutor(max(1, jobs), "match")
        self._hasher = ThreadPoolExecutor(1, "hash")
        self.progress = progress or Silent()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._hasher.shutdown()

    def scan_text(self, text: str) -> list[Found]:
        """Return the secrets in a short text, by place in its UTF-8 bytes."""
        data = text.encode("utf-8", "surrogateescape")
        return self._confirmer.confirm(data, self._matcher.hits(data), "")

    def scan_layer(self, stream: BinaryIO, what: str, algorithm: str = "sha256") -> LayerRecord:
        """Read a layer to its end. Raises Damaged, naming `what`, on broken compression or tar data.

        `algorithm` is that of the record's digest.
        """
        sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
        packed = compression_of(sniffed.peek(8)[:8]) is not None
        raw = HashingReader(sniffed, algorithm if packed or algorithm != "sha256" else None, self.progress.advance)
        stored = io.BufferedReader(raw, 1 << 18)
        pass_ = _Pass(self, decompressed(stored))
        try:
            pass_.run()
            while stored.read(1 << 20):  # what follows the compressed data counts in the digest
                pass
        except Damaged as exc:
            raise Damaged(f"{what}: {exc}") from exc
        return pass_.record(raw)

    def submit_hash(self, update: Callable[[memoryview], None], view: memoryview) -> Future[None]:
        """Hash in the one hashing thread, in order."""
        return self._hasher.submit(update, view)

    def submit_match(self, view: memoryview) -> Future[list[tuple[int, int]]]:
        """Match in some thread."""
        return self._pool.submit(self._matcher.hits if self._content else _no_hits, view)

    def confirm(
        self,
        text: memoryview,
        hits: list[tuple[int, int]],
        path: str,
        path_rules: Sequence[int],
        ends_in: tuple[int, int],
    ) -> list[Found]:
        """Confirm raw hits in one file, or a part of it."""
        return self._confirmer.confirm(text, hits, path, path_rules if self._content else (), ends_in)


def _no_hits(_: memoryview) -> list[tuple[int, int]]:
    return []


@dataclass(slots=True)
class _Lines:
    """Newlines of the entry that goes on from window to window, counted up to a place; None in binary data."""

    entry: int = -1
    upto: int = 0
    count: int | None = 0


@dataclass(slots=True)
class _Pass:
    """One pass over one layer."""

    scanner: Scanner
    stream: BinaryIO
    listing: Listing = field(default_factory=Listing)
    matches: list[Match] = field(default_factory=list)
    skipped: list[tuple[str | None, str]] = field(default_factory=list)
    walker: Walker | None = None
    size: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    _lines: _Lines = field(default_factory=_Lines)
    _counts: dict[int, int] = field(default_factory=dict)
    _path_rules: dict[int, list[int]] = field(default_factory=dict)  # by entry: rules that its path calls for

    def run(self) -> None:
        """Read all windows; keep a few in flight."""
        reader = WindowReader(self.stream, _IN_FLIGHT)
        flying: deque[tuple[Window, Future[None], Future[list[tuple[int, int]]]]] = deque()
        try:
            for window in reader:
                hashed = self.scanner.submit_hash(self._hash.update, window.fresh_view)
                matched = self.scanner.submit_match(window.view)
                self._list(window)
                flying.append((window, hashed, matched))
                while flying and (window.last or len(flying) >= _IN_FLIGHT - 1):
                    done, hashed, matched = flying.popleft()
                    self._finish(done, matched.result())
                    hashed.result()
                    reader.release(done)
        finally:
            for _, hashed, matched in flying:
                hashed.exception(), matched.exception()
            reader.close()
        if self.walker is not None:
            self.walker.finish(self.size)

    def record(self, raw: HashingReader) -> LayerRecord:
        """Return what was found. The digests hold for all bytes, which were read."""
        diff_id = DiffID(f"sha256:{self._hash.hexdigest()}")
        return LayerRecord(
            raw.digest or Digest(diff_id),
            raw.size,
            diff_id,
            self.size,
            self.listing,
            tuple(self.matches),
            tuple(self.skipped),
            self.walker is not None,
        )

    def _list(self, window: Window) -> None:
        """Read the headers in a window's new bytes; the first window tells whether it is a tar at all."""
        fresh = window.fresh_view
        if window.fresh == 0:
            self.walker = Walker() if len(fresh) == 0 or is_header(bytes(fresh[:BLOCK])) else None
        self.size = window.end
        if self.walker is None:
            self.listing = plain_file("", window.end)
            return
        first = len(self.listing)
        for header in self.walker.feed(fresh, window.fresh):
            self.listing.add(header)
        paths = ["/" + path for path in self.listing.paths[first:]]
        for at, rules in self.scanner.path_rules.of(paths).items():
            if self.listing.sizes[first + at]:
                self._path_rules[first + at] = rules

    def _finish(self, window: Window, hits: list[tuple[int, int]]) -> None:
        """Confirm the hits that a window owns, file by file."""
        waiting = [entry for entry in self._path_rules if self.listing.offsets[entry] < window.end]
        for entry, own in self._by_entry(window, hits):
            self._confirm(window, entry, own)
            if entry in waiting:
                waiting.remove(entry)
        for entry in waiting:
            self._confirm(window, entry, [])
        for entry in list(self._path_rules):
            if self.listing.offsets[entry] + self.listing.sizes[entry] < window.owned_to:
                del self._path_rules[entry]
        self._count_on(window)

    def _by_entry(self, window: Window, hits: list[tuple[int, int]]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Group owned hits by the file that holds their last byte; those in headers and padding fall out."""
        entry, stop, own = -1, 0, list[tuple[int, int]]()
        for rule, end in sorted(hits, key=itemgetter(1)):
            place = window.start + end
            if not window.owned_from <= place < window.owned_to:
                continue
            if place > stop:
                if own:
                    yield entry, own
                own = []
                entry = self.listing.at(place - 1)
                stop = self.listing.offsets[entry] + self.listing.sizes[entry] if entry >= 0 else place
            if entry >= 0:
                own.append((rule, end))
        if own:
            yield entry, own

    def _confirm(self, window: Window, entry: int, hits: list[tuple[int, int]]) -> None:
        begin = self.listing.offsets[entry]
        low = max(begin - window.start, 0)
        high = min(begin + self.listing.sizes[entry] - window.start, window.size)
        text = window.view[low:high]
        path = "/" + self.listing.paths[entry]
        path_rules = self._path_rules.get(entry, ())
        owned = window.owned_from - window.start - low, window.owned_to - window.start - low
        for found in self.scanner.confirm(text, [(r, end - low) for r, end in hits], path, path_rules, owned):
            place = window.start + low + found.start
            if self._counts.get(entry, 0) >= MAX_MATCHES:
                self.skipped.append((path, f"more than {MAX_MATCHES} findings; the rest was left out"))
                self._counts[entry] = -(1 << 60)
            if self._counts.get(entry, 0) < 0:
                return
            self._counts[entry] = self._counts.get(entry, 0) + 1
            self.matches.append(
                Match(
                    entry,
                    found.rule.id,
                    found.secret,
                    self._line(window, entry, place),
                    place - begin,
                    found.check,
                    found.confidence,
                )
            )

    def _line(self, window: Window, entry: int, place: int) -> int | None:
        """Return the line of a place in the layer's tar, None in binary data."""
        begin, before = self.listing.offsets[entry], 0
        if self._lines.entry == entry:
            if self._lines.count is None:
                return None
            begin, before = self._lines.upto, self._lines.count
        low = max(begin - window.start, 0)
        text = window.buffer
        head = self.listing.offsets[entry] - window.start
        if head >= 0 and text.find(b"\0", head, min(head + _SNIFF, head + self.listing.sizes[entry], window.size)) >= 0:
            return None
        return before + text.count(b"\n", low, place - window.start) + 1

    def _count_on(self, window: Window) -> None:
        """Count the newlines of the file that goes on in the next window, up to where that one's bytes begin."""
        entry = -1 if window.last else self.listing.at(window.end - 1)
        if entry < 0 or self.listing.offsets[entry] + self.listing.sizes[entry] <= window.end:
            self._lines = _Lines()
            return
        begin, upto = self.listing.offsets[entry], max(window.end - OVERLAP, self.listing.offsets[entry])
        if self._lines.entry != entry:
            head = begin - window.start
            binary = window.buffer.find(b"\0", head, min(head + _SNIFF, window.size)) >= 0
            self._lines = _Lines(entry, begin, None if binary else 0)
        if self._lines.count is not None:
            low = self._lines.upto - window.start
            self._lines.count += window.buffer.count(b"\n", low, upto - window.start)
        self._lines.upto = upto
