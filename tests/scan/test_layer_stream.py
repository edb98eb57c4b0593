"""The files that pieces of a layer are read from."""

from __future__ import annotations

import io
import os

import pytest

from auditor.codec.file_slices import SharedFile
from auditor.scan import layer_stream
from auditor.scan.layer_stream import BlockBuffers, MemoryFiles, SpooledFiles, blocks


def content(file: SharedFile) -> bytes:
    return os.pread(file.descriptor, 1 << 20, 0)


def test_a_file_that_is_used_again_has_the_bytes_of_its_piece_alone() -> None:
    files = MemoryFiles()
    one, other = SpooledFiles(files), SpooledFiles(files)
    one.write(memoryview(b"a secret "))
    one.write(memoryview(b"of the first piece"))
    first, offset = one.cut(0)
    assert (content(first), offset) == (b"a secret of the first piece", 0)
    one.release(first)
    other.write(memoryview(b"short"))
    again, _ = other.cut(0)
    assert again is first and content(again) == b"short"
    other.release(again)
    empty, _ = one.cut(0)
    assert empty is first and content(empty) == b""


def test_a_file_that_is_read_is_not_used_for_another_piece() -> None:
    files = SpooledFiles(MemoryFiles())
    pieces = []
    for text in (b"one", b"two", b"three"):
        files.write(memoryview(text))
        pieces.append(files.cut(0)[0])
    assert [content(file) for file in pieces] == [b"one", b"two", b"three"]


def test_unused_files_are_closed_beyond_a_size_and_when_the_scanner_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_stream, "_MOST_UNUSED", 10)
    files = MemoryFiles()
    kept, dropped = files.take(), files.take()
    files.hold(14)
    closings = [kept.close, dropped.close]
    files.give(7, kept)
    files.give(7, dropped)
    del kept, dropped
    assert [closing.alive for closing in closings] == [True, False]
    files.clear()
    assert not closings[0].alive


def test_pieces_fill_their_memory_until_they_are_released_or_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_stream, "_MOST_HELD", 10)
    shared = MemoryFiles()
    one, other = SpooledFiles(shared), SpooledFiles(shared)
    pieces = []
    for files in (one, other):
        files.write(memoryview(b"8 bytes."))
        pieces.append(files.cut(0)[0])
    full = [one.is_full, other.is_full]
    one.release(pieces[0])
    full.append(one.is_full)
    one.write(memoryview(b"8 bytes."))
    one.cut(0)
    full.append(other.is_full)
    one.close()  # as after an error
    assert [*full, other.is_full] == [True, True, False, True, False]


class TestBlocks:
    def test_a_small_layer_takes_one_buffer(self) -> None:
        taken = list[bytearray]()

        def take() -> bytearray:
            taken.append(bytearray(1 << 20))
            return taken[-1]

        assert [bytes(block) for block in blocks(io.BytesIO(b"short"), 4, take)] == [b"short"]
        assert len(taken) == 1

    def test_a_block_is_valid_until_so_many_later_ones(self) -> None:
        data = b"".join(bytes([number]) * (1 << 20) for number in range(7)) + b"end"
        with BlockBuffers().lend() as take:
            last = list[memoryview]()
            for number, block in enumerate(blocks(io.BytesIO(data), 3, take)):
                last = [*last[-2:], block]
                starts = [bytes(one[:3]) for one in last]
                assert starts == [data[place << 20 :][:3] for place in range(max(number - 2, 0), number + 1)]

    def test_layers_that_are_read_at_a_time_share_no_buffer_and_later_ones_use_them_again(self) -> None:
        buffers = BlockBuffers()
        with buffers.lend() as one, buffers.lend() as other:
            first = [one(), other(), one()]
            assert len({id(buffer) for buffer in first}) == 3
        with buffers.lend() as take:
            again = [take() for _ in range(4)]
        assert {id(buffer) for buffer in first} < {id(buffer) for buffer in again}
        buffers.clear()
        with buffers.lend() as take:
            assert id(take()) not in {id(buffer) for buffer in again}

    def test_a_few_unused_buffers_are_kept(self) -> None:
        buffers = BlockBuffers()
        with buffers.lend() as take:
            first = [take() for _ in range(9)]
        with buffers.lend() as take:
            again = [take() for _ in range(9)]
        assert len({id(buffer) for buffer in first} & {id(buffer) for buffer in again}) == 4

    def test_buffers_of_a_layer_that_can_not_be_read_are_given_back(self) -> None:
        buffers = BlockBuffers()
        with pytest.raises(OSError, match="broken"), buffers.lend() as take:
            first = take()
            raise OSError("broken")
        with buffers.lend() as take:
            assert take() is first
