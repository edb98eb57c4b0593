"""The record of a layer does not depend on how many processes scan it, nor on how its bytes are stored."""

from __future__ import annotations

import errno
import gzip
import io
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.codec.tar import TarParser
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits
from auditor.detect.rules import Ruleset
from auditor.published.image_lists import LayerLists
from auditor.scan import LayerRecord, Scanner, cutter, layer_stream, parallel_scan
from auditor.scan.cutter import Cutter
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_scan import PieceScanner
from auditor.scan.record_format import encode_record
from auditor.scan.scan_pool import ScanThread
from auditor.scan.worker_pool import WorkerPool
from tests.engines import cases
from tests.engines.generated import stack
from tests.images import Item, file, folder, hardlink, layer, symlink, token

JOBS = (1, 2, 3, 8)
KEY = bytes(32)
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    """Cut small layers into many pieces, and start processes for them."""
    with Patch.context() as patch:
        patch.setattr(cutter, "MOST_COST", 100_000)
        patch.setattr(parallel_scan, "_SMALL", 0)
        yield


@pytest.fixture(scope="module")
def scanners(ruleset: Ruleset, cache: Path) -> Iterator[list[Scanner]]:
    """One scanner for each number of processes."""
    with ExitStack() as stack:
        made = [stack.enter_context(closing(Scanner(ruleset, jobs, cache=cache))) for jobs in JOBS]
        for one in made:
            one.prepare()
        yield made


def encoded(record: LayerRecord) -> bytes:
    return encode_record(record.with_hmacs(KEY, keep_text=False))


def stored(path: Path, data: bytes) -> FileSlice:
    """The layer as a part of a file."""
    path.write_bytes(b"archive" + data)
    return FileSlice(SharedFile.open(path), 7, len(data))


def scanned(one: Scanner, content: FileSlice) -> LayerRecord:
    with content.open() as stream:
        return one.scan_layer(stream, "layer", content=content)


def planted(seed: int, files: int = 60) -> bytes:
    """A layer with secrets in files of many sizes, archives, loose git objects, links, and package databases."""
    rng = random.Random(seed)
    members = [file("var/lib/dpkg/status", b"Package: a\nVersion: 1\n" * 50)]
    for number in range(files):
        text = rng.randbytes(rng.choice((0, 10, 3000, 60_000))).hex() + f"\nkey = {token(seed + number)}\n"
        data = text.encode()
        path = f"srv/{number % 7}/f{number}"
        members.append(file(path + ".gz", gzip.compress(data, 1)) if number % 5 == 0 else file(path, data))
    return layer(*members)


def odd_layers() -> Iterator[bytes]:
    """Layers with headers of every format, sparse files, sizes in pax records, whiteouts and links."""
    for layers in cases.CASES.values():
        yield from layers
    for seed in range(40):
        yield from stack(seed)


def outcome(one: Scanner, content: FileSlice) -> bytes | str:
    """The record of a layer, or the reason why it can't be read."""
    try:
        return encoded(scanned(one, content))
    except Damaged as exc:
        return str(exc)


class TestEveryNumberOfProcesses:
    @pytest.mark.parametrize("seed", [1, 2])
    def test_the_record_is_the_same(self, scanners: Sequence[Scanner], tmp_path: Path, seed: int) -> None:
        data = planted(seed)
        records = [scanned(one, stored(tmp_path / "a.tar", data)) for one in scanners]
        assert len({encoded(record) for record in records}) == 1 and len(records[0].matches) == 60

    @pytest.mark.parametrize("large", [1, 50_000, 1 << 30])
    def test_a_stream_gives_the_record_of_the_file(
        self, scanners: Sequence[Scanner], tmp_path: Path, monkeypatch: Patch, large: int
    ) -> None:
        monkeypatch.setattr(layer_stream.SpooledFiles, "large", large)
        data = planted(3)
        whole, squeezed = encoded(scanned(scanners[0], stored(tmp_path / "a.tar", data))), gzip.compress(data, 1)
        for one in scanners:
            plain, packed = (one.scan_layer(io.BytesIO(stream), "layer") for stream in (data, squeezed))
            assert encoded(plain) == whole
            assert packed.matches == plain.matches
            assert packed.listing.paths == plain.listing.paths

    def test_pieces_in_memory_wait_for_those_before_them_where_they_fill_it(
        self, scanners: Sequence[Scanner], tmp_path: Path, monkeypatch: Patch
    ) -> None:
        """Otherwise a slow archive would keep all of the layer behind it in memory."""
        data, held = planted(4), list[int]()
        whole, squeezed = scanned(scanners[0], stored(tmp_path / "a.tar", data)), gzip.compress(data, 1)
        hold = layer_stream.MemoryFiles.hold

        def counting(files: layer_stream.MemoryFiles, size: int) -> None:
            hold(files, size)
            held.append(files._held)

        monkeypatch.setattr(layer_stream.MemoryFiles, "hold", counting)
        monkeypatch.setattr(layer_stream, "_MOST_HELD", 0)
        for one in scanners:
            record = one.scan_layer(io.BytesIO(squeezed), "layer")
            assert record.matches == whole.matches and record.listing.paths == whole.listing.paths
        assert len(held) > 10 * len(scanners) and max(held) < len(data) / 4  # one piece at a time

    def test_odd_tars_give_the_same_record(self, scanners: Sequence[Scanner], tmp_path: Path) -> None:
        for data in odd_layers():
            content = stored(tmp_path / "a.tar", data)
            assert len({outcome(one, content) for one in scanners}) == 1

    def test_a_blob_that_is_no_tar(self, scanners: Sequence[Scanner], tmp_path: Path) -> None:
        data = b"x" * 3_000_000 + f"\n{token(5)}\n".encode()
        records = [scanned(one, stored(tmp_path / "a", data)) for one in scanners]
        records += [one.scan_layer(io.BytesIO(data), "layer") for one in scanners]
        assert len({encoded(record) for record in records}) == 1 and not records[0].is_tar


class TestLinksAcrossPieces:
    BIG = b"x" * 90_000

    def paths(self, scanners: Sequence[Scanner], tmp_path: Path, *members: Item) -> list[str]:
        data = layer(*members)
        content = stored(tmp_path / "a.tar", data)
        records = [scanned(one, content) for one in scanners]
        records += [one.scan_layer(io.BytesIO(data), "layer") for one in scanners]
        assert len({encoded(record) for record in records}) == 1
        return list(records[0].listing.paths)

    @pytest.mark.parametrize("large", [1, 1 << 30])
    def test_a_link_in_an_earlier_piece_is_followed(
        self, scanners: Sequence[Scanner], tmp_path: Path, monkeypatch: Patch, large: int
    ) -> None:
        monkeypatch.setattr(layer_stream.SpooledFiles, "large", large)
        paths = self.paths(
            scanners, tmp_path, symlink("lib64", "usr/lib64"), file("pad", self.BIG),
            file("lib64/ld.so", token(1).encode() + self.BIG), file("lib64/x", b"1"),
        )  # fmt: skip
        assert paths == ["lib64", "pad", "usr/lib64/ld.so", "usr/lib64/x"]

    def test_a_hard_link_to_a_link_of_an_earlier_piece_is_a_link(
        self, scanners: Sequence[Scanner], tmp_path: Path
    ) -> None:
        paths = self.paths(
            scanners, tmp_path, symlink("a", "d"), file("pad", self.BIG), hardlink("b", "a"),
            file("pad2", self.BIG), file("b/c", b"1"),
        )  # fmt: skip
        assert paths[-1] == "d/c"

    def test_a_folder_behind_its_whiteout_in_an_earlier_piece(
        self, scanners: Sequence[Scanner], tmp_path: Path
    ) -> None:
        data = layer(file("d/.wh.e", b""), file("pad", self.BIG), folder("d/e"), file("pad2", self.BIG))
        records = [scanned(one, stored(tmp_path / "a.tar", data)) for one in scanners]
        assert all(record.listing.whiteouts == {} for record in records)


class TestLimits:
    def test_limits_of_the_layer_hold_across_pieces(self, ruleset: Ruleset, cache: Path, tmp_path: Path) -> None:
        limits = Limits(findings_layer=10, unpacked_layer_free=20_000, unpacked_layer=0)
        data, records = planted(4), []
        for jobs in JOBS[:2]:
            with closing(Scanner(ruleset, jobs, cache=cache, limits=limits)) as one:
                one.prepare()
                records.append(scanned(one, stored(tmp_path / "a.tar", data)))
        assert len({encoded(record) for record in records}) == 1
        assert len(records[0].matches) == 10
        reasons = [reason for path, reason in records[0].skipped if path is None]
        assert sum("findings in the layer" in reason for reason in reasons) == 1
        assert sum("bytes extracted from the layer" in reason for reason in reasons) == 1

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_layer_that_is_cut_off_is_damaged(self, ruleset: Ruleset, cache: Path, tmp_path: Path, jobs: int) -> None:
        data = planted(5)
        with closing(Scanner(ruleset, jobs, cache=cache)) as one:
            one.prepare()
            for size in (len(data) // 2 + 100, 100_700):
                content = stored(tmp_path / "a.tar", data[:size])
                with pytest.raises(Damaged, match=f"ends at byte {size}"):
                    scanned(one, content)
                with pytest.raises(Damaged, match=f"ends at byte {size}"):
                    one.scan_layer(io.BytesIO(data[:size]), "layer")


class TestFaults:
    @pytest.mark.parametrize("index", [0, 1])
    def test_a_file_that_shrinks_while_it_is_scanned_is_damaged(
        self, scanners: Sequence[Scanner], tmp_path: Path, index: int
    ) -> None:
        data = layer(file("a", token(1)), file("b", b"x" * 50_000 + token(2).encode()))
        content = stored(tmp_path / "a.tar", data[:20_000])  # what the workers find of the bytes that were hashed
        content = FileSlice(content.file, content.offset, len(data))
        with pytest.raises(Damaged, match="became shorter while it was scanned"):
            scanners[index].scan_layer(io.BytesIO(data), "layer", content=content)

    def test_a_worker_that_is_killed_is_replaced(self, ruleset: Ruleset, cache: Path, tmp_path: Path) -> None:
        content = stored(tmp_path / "a.tar", planted(6))
        with closing(Scanner(ruleset, 2, cache=cache)) as one:
            one.prepare()
            for pid in pids(one):
                os.kill(pid, signal.SIGKILL)
            record = scanned(one, content)
        assert len(record.matches) == 60 and not record.transient and record.skipped == ()

    @pytest.mark.parametrize("large", [1, 1 << 30])
    def test_a_piece_whose_worker_is_killed_again_is_skipped_and_named(
        self, ruleset: Ruleset, cache: Path, tmp_path: Path, monkeypatch: Patch, large: int
    ) -> None:
        monkeypatch.setattr(layer_stream.SpooledFiles, "large", large)
        monkeypatch.setattr(sys, "executable", "/bin/true")  # workers that end at once
        content = stored(tmp_path / "a.tar", planted(7, files=12))
        with closing(Scanner(ruleset, 2, cache=cache)) as one:
            one.prepare()
            for pid in pids(one):
                os.kill(pid, signal.SIGKILL)
            for record in (scanned(one, content), one.scan_layer(content.open(), "layer")):
                assert record.transient and record.matches == () and len(record.listing) == 13
                assert {path for path, _ in record.skipped} <= {"/" + path for path in record.listing.paths}
                assert all("was killed; the next scan reads this layer again" in why for _, why in record.skipped)

    def test_no_process_is_left(self, ruleset: Ruleset, cache: Path, tmp_path: Path) -> None:
        with closing(Scanner(ruleset, 3, cache=cache)) as one:
            one.prepare()
            scanned(one, stored(tmp_path / "a.tar", planted(8)))
            started = pids(one)
        for pid in started:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    def test_processes_that_were_released_are_started_again(
        self, ruleset: Ruleset, cache: Path, tmp_path: Path
    ) -> None:
        content = stored(tmp_path / "a.tar", planted(13))
        with closing(Scanner(ruleset, 2, cache=cache)) as one:
            one.prepare()
            first, started = scanned(one, content), pids(one)
            one.release()
            for pid in started:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
            count = len(one.piece_seconds)
            one.prepare()
            assert encoded(scanned(one, content)) == encoded(first)
            assert pids(one).isdisjoint(started) and len(one.piece_seconds) > count > 0

    def test_an_error_of_a_worker_is_raised_here(self, scanners: Sequence[Scanner], tmp_path: Path) -> None:
        file = stored(tmp_path / "a.tar", b"").file
        with pytest.raises(TypeError):
            scanners[1]._scan()._threads[-1].pool.submit(Piece("0", 0, 0, 0), file).result()  # type: ignore[arg-type]

    def test_a_thread_scans_where_no_process_can_be_started(
        self, ruleset: Ruleset, cache: Path, tmp_path: Path, monkeypatch: Patch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/no/such/program")
        monkeypatch.setattr(os, "fork", failing)
        with closing(Scanner(ruleset, 2, cache=cache)) as one:
            one.prepare()
            assert len(scanned(one, stored(tmp_path / "a.tar", planted(9))).matches) == 60

    def test_a_layer_is_not_read_on_once_the_scanner_is_closed(
        self, ruleset: Ruleset, cache: Path, tmp_path: Path
    ) -> None:
        one, data = Scanner(ruleset, 2, cache=cache), planted(10)

        class Closing(io.BytesIO):
            def readinto(self, buffer: Any) -> int:
                if self.tell() >= len(data) // 2:
                    one.close()
                return super().readinto(memoryview(buffer)[: 1 << 16])

        one.prepare()
        with pytest.raises(CancelledError):
            one.scan_layer(Closing(data * 9), "layer")

    def test_one_job_is_one_thread(self, ruleset: Ruleset, cache: Path, tmp_path: Path, monkeypatch: Patch) -> None:
        """Then it uses one core, and no more."""
        content = stored(tmp_path / "a.tar", planted(11))
        with closing(Scanner(ruleset, 1, cache=cache)) as one:
            monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
            assert len(scanned(one, content).matches) == 60
            assert len(one.scan_layer(content.open(), "layer").matches) == 60

    def test_one_job_scans_nothing_more_once_the_scanner_is_closed(
        self, ruleset: Ruleset, cache: Path, tmp_path: Path, monkeypatch: Patch
    ) -> None:
        content, scan, scans = stored(tmp_path / "a.tar", planted(12)), PieceScanner.scan, list[object]()
        with closing(Scanner(ruleset, 1, cache=cache)) as one:

            def closing_scan(*arguments: Any, **options: Any) -> PieceResult:
                scans.append(arguments)
                one.close()
                return scan(*arguments, **options)

            monkeypatch.setattr(PieceScanner, "scan", closing_scan)
            with pytest.raises(CancelledError):
                scanned(one, content)
        assert len(scans) == 1

    def test_a_daemon_starts_no_process(self, ruleset: Ruleset, cache: Path, monkeypatch: Patch) -> None:
        monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
        with closing(Scanner(ruleset, 2, cache=cache)) as one:
            one.prepare()
            assert isinstance(one._scan()._threads[-1].pool, ScanThread)


def failing() -> int:
    raise BlockingIOError(errno.EAGAIN, "no process")


def pids(one: Scanner) -> set[int]:
    """The worker processes of a scanner."""
    pool = one._scan()._threads[-1].pool
    assert isinstance(pool, WorkerPool)
    return {process.pid for process in pool._workers}


def test_a_tar_is_cut_where_the_parser_sees_entries_begin() -> None:
    for number, tar in enumerate(odd_layers()):
        parser, ends = TarParser(DEFAULT), list[int]()
        try:
            for _ in parser.feed(memoryview(tar), 0):
                ends.append(parser.position)
        except Damaged:
            continue
        step, one, rest = (512, 1024, 10_240)[number % 3], Cutter(DEFAULT, -1, LayerLists()), b""
        cuts = list[int]()
        for begin in range(0, len(tar), step):
            block, base = rest + tar[begin : begin + step], begin - len(rest)
            cuts += [cut.end for cut in one.feed(memoryview(block), base) if cut.headers]
            rest = block[one.position - base :] if not one.ended else b""
        assert cuts == [end for end in ends if end <= len(tar)] or parser.position > len(tar)
        assert one.position == parser.position
