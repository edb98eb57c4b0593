"""The scan of one layer: its bytes are read once, hashed, cut into pieces, and the results of the pieces merged.

The pieces do not depend on the number of processes that scan them, so the record does not either.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import BinaryIO

from auditor.codec.file_slices import SharedFile
from auditor.codec.hashing import HashingReader
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import BLOCK, is_header
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID
from auditor.core.errors import Damaged
from auditor.core.limits import limit_note
from auditor.layers.listing import Listing, plain_file
from auditor.published.image_lists import LayerLists
from auditor.published.package_files import PackageFiles, digests_of
from auditor.scan.cutter import Cut, Cutter
from auditor.scan.layer_budget import extractable
from auditor.scan.layer_merge import LayerMerge
from auditor.scan.layer_stream import PieceFiles, PiecePipe, blocks
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_scan import PieceScanner
from auditor.scan.record import LayerRecord
from auditor.scan.scan_pool import PieceLost
from auditor.scan.scan_threads import ScanThreads

_IN_HASH = 3
"""Blocks whose hash may be in progress."""


@dataclass(slots=True)
class _Pending:
    """A piece that is being scanned. `end` is None for the last one; `listing` has its entries if they are known.

    `packages` are the sizes of the Debian packages in it, `archives` the paths of its large archives. `scan` is None
    until those are known that a distribution published.
    """

    piece: Piece
    file: SharedFile
    scan: Future[PieceResult] | None
    end: int | None
    listing: Listing | None = None
    packages: tuple[int, ...] = ()
    archives: tuple[bytes, ...] = ()


class LayerScan:
    """One pass over a layer's uncompressed bytes: call `run`, then `record`.

    `lists` are its package lists, and those below it.
    """

    def __init__(
        self, stream: BinaryIO, files: PieceFiles, scanner: PieceScanner, threads: ScanThreads, lists: LayerLists
    ) -> None:
        self._stream, self._files, self._scanner, self._threads = stream, files, scanner, threads
        self._limits = scanner.searcher.limits
        self._hash = hashlib.sha256()
        self._size = 0
        self._merge = LayerMerge(self._limits)
        self._lists = lists
        self._cutter = Cutter(self._limits, files.large, lists)
        self._is_tar = True
        self._start = 0  # of the piece that is not yet cut
        self._pending: deque[_Pending] = deque()
        self._lock, self._unmerged = threading.Lock(), 0  # bytes extracted by scans that ended, and are not merged
        self._is_serial = False  # the limit of extraction is reached: each piece waits for those before it
        self._pipe: PiecePipe | None = None

    def run(self, take: Callable[[], bytearray]) -> None:
        """Read the layer to its end, into buffers that `take` returns. Afterwards nothing uses them. Raises Damaged."""
        hashes: deque[Future[None]] = deque()
        rest = b""
        try:
            for block in blocks(self._stream, _IN_HASH + 1, take):
                self._count(len(block))
                hashes.append(self._threads.hash(self._hash.update, block))
                rest = self._take(memoryview(rest + block) if rest else block)
                if len(hashes) == _IN_HASH:
                    hashes.popleft().result()
            self._finish()
        except BaseException:
            self._abandon()
            raise
        finally:
            self._lists.close()
            for update in hashes:
                update.result()
            self._close_pipe()

    def record(self, raw: HashingReader) -> LayerRecord:
        """Wait for the results of all pieces, and return the layer's record; `raw` hashed the stored bytes."""
        try:
            self._collect(wait=True)
        except BaseException:
            self._abandon()
            raise
        diff_id = DiffID(f"sha256:{self._hash.hexdigest()}")
        return self._merge.record(raw, diff_id, self._size, self._lists.found(), is_tar=self._is_tar)

    def _count(self, fresh: int) -> None:
        if self._threads.closed:
            raise CancelledError
        self._size += fresh
        if self._size > self._limits.layer_bytes:
            raise Damaged(f"has more than {self._limits.layer_bytes} bytes {limit_note('layer-bytes')}")

    def _take(self, data: memoryview) -> bytes:
        """Cut the next bytes into pieces; return those at the end, which the next bytes must follow."""
        base = at = self._size - len(data)
        if base == 0 and self._start == 0:
            self._is_tar = is_header(bytes(data[:BLOCK]))
            if not self._is_tar and self._files.is_stream:
                self._start = sys.maxsize
                self._open_pipe(Piece(0, 0, 0, 0, True, plain_file("", sys.maxsize)), sys.maxsize)
        if not self._is_tar:
            self._write(data, base, at, self._size)
            return b""
        for cut in self._cutter.feed(data, base):
            if cut.headers:
                at = self._write(data, base, at, self._start)
                self._begin_large_file(cut)
            else:
                at = self._write(data, base, at, cut.end)
                self._submit(cut.end, cut.cost, cut.packages, cut.archives)
                self._start = cut.end
        self._lists.feed(data, base)
        at = self._write(data, base, at, min(self._size, self._cutter.position))
        return b"" if self._cutter.ended else bytes(data[at - base :])

    def _write(self, data: memoryview, base: int, at: int, stop: int) -> int:
        """Pass on the bytes from the offset `at` to `stop`, and return that; `data` begins at the offset `base`."""
        if self._pipe is not None:
            self._pipe.write(data, base)
            if stop < self._start:
                return stop
            self._close_pipe()
            at = self._start
        self._files.write(data[at - base : stop - base])
        return stop

    def _begin_large_file(self, cut: Cut) -> None:
        """Open a pipe for a file that is too large to be spooled. Its path may depend on the links before it."""
        self._collect(wait=True)
        listing, first = self._merge.listing.behind(), self._start
        self._start = cut.end
        for header in TarParser(self._limits, first).feed(memoryview(cut.headers), first):
            listing.add(header)
            self._merge.add_header(header)
            if len(listing):
                entry = plain_file(listing.paths[0], header.size)
                entry.offsets[0] = header.offset
                size = cut.end - header.offset
                piece = Piece(0, header.offset, size, cut.cost, True, entry, self._merge.extracted)
                self._open_pipe(piece, header.offset + header.size, listing)

    def _open_pipe(self, piece: Piece, stop: int, listing: Listing | None = None) -> None:
        """Submit a piece whose bytes, up to the offset `stop`, are yet to come."""
        self._pipe = PiecePipe(piece.start, stop)
        scan = self._threads.pool.submit(piece, self._pipe.file)
        self._pending.append(_Pending(piece, self._pipe.file, scan, None, listing))

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _finish(self) -> None:
        """Submit the last piece. One whose pipe is open is a blob of one file, or is cut off."""
        if self._pipe is not None:
            self._close_pipe()
        elif not self._is_tar:
            self._submit(self._size, self._size, listing=plain_file("", sys.maxsize), is_last=True)
        else:
            end = min(self._cutter.position, self._size) if self._cutter.ended else self._size
            if end > self._start:
                cutter = self._cutter
                self._submit(end, cutter.cost, tuple(cutter.packages), tuple(cutter.archives), is_last=True)
        self._start_held()

    def _submit(
        self,
        end: int,
        cost: int,
        packages: tuple[int, ...] = (),
        archives: tuple[bytes, ...] = (),
        listing: Listing | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        """Have the piece scanned that ends at an offset; waits while too many bytes are waiting.

        Packages and archives in a file are held until the end of the layer: the package lists and the packages that
        prove them may be behind them.
        """
        file, offset = self._files.cut(self._start)
        piece = Piece(offset, self._start, end - self._start, cost, listing=listing)
        pending = _Pending(piece, file, None, None if is_last else end, packages=packages, archives=archives)
        self._pending.append(pending)
        if self._files.is_stream or not (packages or (archives and self._lists.signed())):
            self._start_scan(pending, self._lists.published(packages) if packages else {})

    def _start_held(self) -> None:
        """Have the pieces scanned that were held: those with packages first, as they prove archives of the others."""
        held = [pending for pending in self._pending if pending.scan is None]
        with_packages = [pending for pending in held if pending.packages]
        for pending in with_packages:
            self._start_scan(pending, self._lists.published(pending.packages))
        others = [pending for pending in held if not pending.packages]
        if others:
            files = [files for pending in with_packages for files in self._package_files(pending)]
            digests = digests_of(files, [path for pending in others for path in pending.archives])
            for pending in others:
                self._start_scan(pending, dict(digests[path] for path in pending.archives if path in digests))

    def _package_files(self, pending: _Pending) -> tuple[PackageFiles, ...]:
        """Return the files of the published packages in a piece. Waits for its scan."""
        if not pending.piece.published or pending.scan is None:
            return ()
        try:
            return pending.scan.result().package_files
        except CancelledError:
            return () if self._threads.closed else self._scanner.scan(pending.piece, pending.file).package_files
        except (Damaged, PieceLost):  # reported when the result is merged
            return ()

    def _start_scan(self, pending: _Pending, published: Mapping[bytes, str]) -> None:
        pending.piece = replace(pending.piece, published=published)
        pending.scan = Future()
        if self._is_serial:
            pending.scan.cancel()
        else:
            pending.scan = self._threads.pool.submit(pending.piece, pending.file)
            pending.scan.add_done_callback(self._ended)
        self._threads.wait(pending.piece.size, pending.scan, is_stream=self._files.is_stream)
        self._collect(wait=False)
        self._check_extracted()

    def _check_extracted(self) -> None:
        """Scan the rest of the layer piece by piece once its limit of extraction is reached."""
        if self._merge.extracted + self._unmerged > extractable(self._limits, self._size):
            self._is_serial = True
            self._cancel()

    def _ended(self, scan: Future[PieceResult]) -> None:
        """Count the bytes that a scan extracted, until its result is merged."""
        if not scan.cancelled() and scan.exception() is None:
            with self._lock:
                self._unmerged += scan.result().extracted

    def _cancel(self) -> None:
        for pending in self._pending:
            if pending.scan is not None and not pending.piece.is_pipe:
                pending.scan.cancel()

    def _abandon(self) -> None:
        self._cancel()
        self._files.close()

    def _collect(self, *, wait: bool) -> None:
        """Merge the results that are there, in the order of the pieces; all of them with `wait`.

        Pieces in memory stay there until those before them are merged. Where they fill it, this waits for the first.
        """
        while self._pending and (scan := self._pending[0].scan) is not None:
            if not (wait or scan.done() or self._files.is_full):
                return
            pending = self._pending.popleft()
            self._merge.add(self._result(pending, scan), pending.end, pending.listing)
            if not pending.piece.is_pipe:
                self._files.release(pending.file)
            if not scan.cancelled() and scan.exception() is None and not pending.piece.is_pipe:
                with self._lock:
                    self._unmerged -= scan.result().extracted

    def _result(self, pending: _Pending, scan: Future[PieceResult]) -> PieceResult:
        """Return the result of a piece behind those that were merged. Raises Damaged."""
        try:
            result = scan.result()
        except (CancelledError, PieceLost) as exc:
            if self._threads.closed or (isinstance(exc, CancelledError) and not self._is_serial):
                raise CancelledError from None
            if isinstance(exc, PieceLost):
                return self._listed(pending)
        else:
            if self._merge.accepts(pending.piece, result):
                return result
        return self._again(pending, self._scanner)

    def _listed(self, pending: _Pending) -> PieceResult:
        """Return the entries of a piece that could not be scanned, and report it."""
        piece = pending.piece
        if piece.listing is not None:
            result = PieceResult(piece.end, piece.listing)
        else:
            result = self._again(pending, self._scanner.without_search())
        self._merge.add_lost(piece, result)
        return result

    def _again(self, pending: _Pending, scanner: PieceScanner) -> PieceResult:
        """Scan a piece here, behind the pieces that were merged."""
        piece = replace(pending.piece, extracted=self._merge.extracted)
        return scanner.scan(piece, pending.file, self._merge.listing.behind())
