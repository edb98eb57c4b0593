"""One pass over one layer.

It is read once, in windows. Of each window one thread computes the hash and another matches all rules over the raw tar
at once, files ignored; meanwhile this thread reads the headers. Raw hits are then mapped back to files and confirmed.
Reading, decompressing, hashing and matching release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO

from isal import isal_zlib

from auditor.codec.hashing import HashingReader
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import BLOCK, Header, is_header
from auditor.codec.windows import Window, WindowReader
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged
from auditor.core.limits import named
from auditor.detect.heuristics.file_class import FileClass, file_class, is_foreign_source
from auditor.layers.listing import Listing, overlay_attributes, plain_file
from auditor.scan import wordless
from auditor.scan.documents import is_document, kept
from auditor.scan.file_content import BufferedContent, StreamedContent
from auditor.scan.inside import HEAD, MAX_STRETCHED, Look
from auditor.scan.lines import LineCounter
from auditor.scan.quota import Quota
from auditor.scan.record import Checksums, LayerMatch, LayerRecord
from auditor.scan.repositories import Repositories
from auditor.scan.wordless import MIN_WORDLESS, is_wordless

if TYPE_CHECKING:
    from auditor.scan.scanner import Scanner

MAX_HELD = 16 << 20
"""Bytes of a file that goes on from window to window, and is neither archive nor database, for it to be held whole."""
MAX_WAITING = 4 << 20
"""A larger archive is opened while it is read, where it can be read front to back."""
MAX_LOOKING, MAX_LOOKS = 8 << 20, 64
"""Bytes, and number, of files that wait to be opened."""
_IN_FLIGHT = 4

_Hits = Sequence[tuple[int, int]]


class LayerPass:
    """Reads a layer's uncompressed bytes; `run`, then `record`."""

    def __init__(self, scanner: Scanner, stream: BinaryIO) -> None:
        self._scanner, self._stream = scanner, stream
        self._listing = Listing(limits=scanner.limits)
        self._walker: TarParser | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._matches: list[LayerMatch | None] = []
        self._outside: dict[int, list[int]] = {}  # by entry: where matches in a file as it stands are among these
        self._quota = Quota(scanner.limits)
        self._refused = -1  # the last archive that goes on, and is too large to be opened
        self._checksums: dict[int, Checksums] = {}
        self._documents: dict[int, bytes] = {}
        self._path_rules: dict[int, list[int]] = {}  # by entry: rules that its path calls for
        self._lines = LineCounter(self._listing)
        self._next = 0  # the first entry that no finished window held to its end
        self._held: BufferedContent | None = None  # what is read so far of the file that goes on in the next window
        self._wordless: deque[tuple[int, int]] = deque()  # [start, end) in the tar where words say nothing
        self._words_since = True  # whether a file with words follows the last of these
        self._piped: StreamedContent | None = None  # of a large archive that goes on: it is opened while it is read
        self._decoded = 0
        self._transient = False
        self._repositories = Repositories()
        self._looking: deque[tuple[int, str, int, Future[Look]]] = deque()
        self._looking_bytes = 0

    def run(self) -> None:
        """Read all windows; keep a few in flight."""
        reader = WindowReader(self._stream, _IN_FLIGHT)
        flying: deque[tuple[Window, Future[None], Future[list[tuple[int, int]]]]] = deque()
        try:
            for window in reader:
                hashed = self._scanner.submit_hash(self._hash.update, window.fresh_view)
                self._list(window)
                matched = self._scanner.submit_match(window.view, self._texts(window))
                flying.append((window, hashed, matched))
                while flying and (window.last or len(flying) >= _IN_FLIGHT - 1):
                    done, hashed, matched = flying.popleft()
                    self._finish(done, matched.result())
                    hashed.result()
                    reader.release(done)
        finally:
            for _, hashed, matched in flying:
                hashed.exception(), matched.exception()
            if self._piped is not None:  # the layer is cut off: nobody is to wait for the rest
                self._piped.add(b"")
            reader.close()
        while self._looking:
            self._take_look()
        if self._walker is not None:
            self._walker.finish(self._size)

    def record(self, raw: HashingReader) -> LayerRecord:
        """Return what was found. The digests hold for all bytes, which were read."""
        diff_id = DiffID(f"sha256:{self._hash.hexdigest()}")
        return LayerRecord(
            raw.digest or Digest(diff_id),
            raw.size,
            diff_id,
            self._size,
            self._listing,
            tuple(self._repositories.named([match for match in self._matches if match], self._listing.paths)),
            tuple(self._quota.skipped),
            self._walker is not None,
            decoded=self._decoded,
            checksums=self._checksums,
            documents=self._documents,
            transient=self._transient,
        )

    def _list(self, window: Window) -> None:
        """Read the headers in a window's new bytes; the first window tells whether it is a tar at all."""
        fresh = window.fresh_view
        if window.fresh == 0:
            self._walker = (
                TarParser(self._scanner.limits) if len(fresh) == 0 or is_header(bytes(fresh[:BLOCK])) else None
            )
        self._size = window.end
        if self._size > self._scanner.limits.layer_bytes:
            raise Damaged(f"has more than {self._scanner.limits.layer_bytes} bytes {named('layer-bytes')}")
        if self._walker is None:
            self._listing.become(plain_file("", window.end if window.last else sys.maxsize))
            return
        first = len(self._listing)
        for header in self._walker.feed(fresh, window.fresh):
            self._listing.add(header)
            if header.pax and (attributes := overlay_attributes(header)):
                self._quota.steered("/" + header.path, attributes)
            if header.size:
                self._note_wordless(window, header)
        for at, rules in self._scanner.path_rules.of(self._listing.paths[first:]).items():
            if self._listing.sizes[first + at] and self._scanner.content:
                self._path_rules[first + at] = rules

    def _note_wordless(self, window: Window, header: Header) -> None:
        """Note where words need no search; files that follow one another are one range."""
        begin, end = header.offset, header.offset + header.size
        large = header.size >= MIN_WORDLESS
        at = begin - window.start
        if is_foreign_source("/" + header.path) or (large and is_wordless(bytes(window.view[at : at + wordless.HEAD]))):
            if self._wordless and not self._words_since:
                begin = self._wordless.pop()[0]
            self._wordless.append((begin, end))
            self._words_since = False
        else:
            self._words_since = True

    def _texts(self, window: Window) -> list[tuple[int, int]]:
        """Return the half-open ranges of a window's bytes in which words may tell a secret."""
        while self._wordless and self._wordless[0][1] <= window.start:
            self._wordless.popleft()
        ranges, at = [], 0
        for start, end in self._wordless:
            if start - window.start > at:
                ranges.append((at, start - window.start))
            at = min(end - window.start, window.size)
        return [*ranges, (at, window.size)] if at < window.size else ranges

    def _finish(self, window: Window, hits: list[tuple[int, int]]) -> None:
        """Handle what a window holds: files that end in it, and the one that goes on."""
        grouped = dict(self._by_entry(window, hits))
        self._note_thinned(hits, grouped)
        for entry in self._ended(window):
            own = grouped.get(entry, ())
            if own or entry in self._path_rules:
                self._confirm(window, entry, own, sys.maxsize)
                self._path_rules.pop(entry, None)
            self._whole(window, entry)
            self._held = None
        going = self._next if self._goes_on(window) else -1
        if going >= 0:
            self._confirm(window, going, grouped.get(going, ()), window.owned_to)
            self._hold(window, going)
        self._lines.count_on(window, going)

    def _note_thinned(self, hits: list[tuple[int, int]], grouped: Mapping[int, _Hits]) -> None:
        """Note the rules of whose hits in a window not all were kept, at the file that has most of them."""
        if len(hits) >= self._scanner.limits.raw_hits:
            most = max(grouped, key=lambda entry: len(grouped[entry]), default=None)
            path = None if most is None else "/" + self._listing.paths[most]
            self._scanner.tell_of(hits, partial(self._quota.overrun, path))

    def _ended(self, window: Window) -> Iterator[int]:
        """Yield the files with content that end in a window."""
        offsets, sizes, end = self._listing.offsets, self._listing.sizes, window.end
        while self._next < len(self._listing) and offsets[self._next] + sizes[self._next] <= end:
            entry = self._next
            self._next += 1
            if sizes[entry]:
                yield entry

    def _goes_on(self, window: Window) -> bool:
        return self._next < len(self._listing) and self._listing.offsets[self._next] < window.end

    def _by_entry(self, window: Window, hits: list[tuple[int, int]]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Group hits by the file that holds their last byte; those in headers and padding fall out."""
        entry, stop, own = -1, 0, list[tuple[int, int]]()
        start = window.start
        for hit in sorted(hits, key=itemgetter(1)):
            place = start + hit[1]
            if place > stop:
                if own:
                    yield entry, own
                own = []
                entry = self._listing.at(place - 1)
                stop = self._listing.offsets[entry] + self._listing.sizes[entry] if entry >= self._next else place
            if entry >= self._next:
                own.append(hit)
        if own:
            yield entry, own

    def _confirm(self, window: Window, entry: int, hits: _Hits, owned_to: int) -> None:
        """Confirm hits in what a window holds of a file.

        Of a file that began in an earlier window those count that end in what this one owns.
        """
        begin = self._listing.offsets[entry]
        low = max(begin - window.start, 0)
        high = min(begin + self._listing.sizes[entry] - window.start, window.size)
        owned_from = window.owned_from if begin < window.fresh else 0
        shift = window.start + low
        own = [(rule, end - low) for rule, end in hits if owned_from <= window.start + end < owned_to]
        rules = self._path_rules.get(entry, ())
        if not own and not rules:
            return
        text, path = window.view[low:high], "/" + self._listing.paths[entry]
        ends_in, overrun = (owned_from - shift, owned_to - shift), partial(self._quota.overrun, path)
        for found in self._scanner.confirm(text, own, path, rules, ends_in, overrun):
            if not self._quota.takes_match(entry, path):
                return
            place = shift + found.start
            line = self._lines.line(window, entry, place)
            self._outside.setdefault(entry, []).append(len(self._matches))
            self._matches.append(
                LayerMatch(entry, found.rule.id, found.secret, line, place - begin, found.check, found.confidence)
            )

    def _hold(self, window: Window, entry: int) -> None:
        """Keep what a window brings of the file that goes on, so that it can be had as a whole, or hand it on."""
        begin, size, path = self._listing.offsets[entry], self._listing.sizes[entry], self._listing.paths[entry]
        if begin >= window.fresh:
            self._begin(entry, path, self._head(window, begin), size)
        for taker in (self._held, self._piped):
            if taker is not None:
                taker.add(window.view[max(begin, window.fresh) - window.start :])

    def _begin(self, entry: int, path: str, head: bytes, size: int) -> None:
        """Decide what to do with a file that goes on in the next window."""
        packed = self._scanner.content and self._scanner.inside.is_extractable(path, head)
        streamed = packed and size > MAX_WAITING and self._scanner.inside.is_streamed(path, head)
        if streamed and self._quota.takes_look(self._size):
            self._piped = StreamedContent(head, size)
            self._submit(entry, "/" + path, self._piped, MAX_WAITING)
            return
        if packed and not self._quota.takes_archive("/" + path, size):
            self._refused, packed = entry, False
        most = MAX_HELD if not packed else self._scanner.limits.archive_bytes
        if is_document(path):
            most = max(most, self._scanner.limits.database_bytes)
        self._held = BufferedContent() if size <= most else None

    @staticmethod
    def _head(window: Window, begin: int) -> bytes:
        return bytes(window.view[begin - window.start : begin - window.start + HEAD])

    def _content(self, window: Window, entry: int) -> BufferedContent | None:
        """Return the whole content of a file that ends in this window, None where it was too large to hold."""
        begin = self._listing.offsets[entry]
        end = begin + self._listing.sizes[entry]
        held, self._held = self._held, None
        if begin >= window.start:
            held = BufferedContent()
            held.add(window.view[begin - window.start : end - window.start])
        elif held is not None:
            held.add(window.view[window.fresh - window.start : end - window.start])
        return held

    def _whole(self, window: Window, entry: int) -> None:
        """Do what needs a file's whole content, which ends in this window."""
        path = self._listing.paths[entry]
        if self._piped is not None:
            end = self._listing.offsets[entry] + self._listing.sizes[entry]
            self._piped.add(window.view[window.fresh - window.start : end - window.start])
            self._piped.add(b"")
            self._piped = None
            return
        look = self._scanner.content and self._worth_a_look(window, entry, "/" + path)
        document = is_document(path) and self._quota.takes_database("/" + path, self._listing.sizes[entry])
        content = self._content(window, entry) if look or document or entry in self._quota.counts else None
        if content is None:
            return
        if look:
            self._look_inside(entry, "/" + path, content)
        elif entry in self._quota.counts:
            self._checksums[entry] = Checksums.of(content)
        if document:
            self._documents[entry] = isal_zlib.compress(kept(path, content.whole()), 1)

    def _worth_a_look(self, window: Window, entry: int, path: str) -> bool:
        begin = self._listing.offsets[entry]
        head = self._head(window, begin) if begin >= window.start else self._held.head(HEAD) if self._held else b""
        free = self._quota.limits.unpacked_layer_free  # looked at first: this is asked for each file
        if entry == self._refused or (self._quota.unpacked > free and not self._quota.takes_look(self._size)):
            return False
        if self._scanner.inside.is_extractable(path, head):
            size = self._listing.sizes[entry]
            if size <= self._quota.limits.archive_bytes or begin < window.start:
                return True
            return self._scanner.inside.is_streamed(path, head) or self._quota.takes_archive(path, size)
        return (
            self._listing.sizes[entry] <= MAX_STRETCHED
            and not is_foreign_source(path)
            and file_class(path) < FileClass.THIRD_PARTY
        )

    def _look_inside(self, entry: int, path: str, content: BufferedContent) -> None:
        """Open a file in another thread; what it finds is taken in the order of the files."""
        self._repositories.remember(path[1:], content)
        self._submit(entry, path, content, content.size)

    def _submit(self, entry: int, path: str, content: BufferedContent | StreamedContent, waiting: int) -> None:
        look = self._scanner.submit_look(entry, path, content, known=entry in self._quota.counts)
        self._looking.append((entry, path, waiting, look))
        self._looking_bytes += waiting
        while self._looking_bytes > MAX_LOOKING or len(self._looking) > MAX_LOOKS:
            self._take_look()

    def _take_look(self) -> None:
        entry, path, size, look = self._looking.popleft()
        self._looking_bytes -= size
        seen = look.result()
        self._decoded += seen.pieces
        self._transient |= seen.transient
        self._quota.unpacked += seen.size
        for where, reason in seen.skipped:
            self._quota.skipped.append((path if where in (path, "") else f"{path}!{where}", reason))
        found = [match for match in seen.matches if self._quota.takes_match(entry, path)]
        # What is stored as it stands was seen from outside too: its place inside says more.
        within = {match.secret for match in found} if seen.packed else set()
        for at in self._outside.pop(entry, ()):
            match = self._matches[at]
            if match and match.secret in within:
                self._matches[at] = None
        self._matches += found
        if seen.checksums is not None:
            self._checksums[entry] = seen.checksums
