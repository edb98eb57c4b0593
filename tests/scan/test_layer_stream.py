"""The files that pieces of a layer are read from."""

from __future__ import annotations

import os

from auditor.codec.file_slices import SharedFile
from auditor.scan.layer_stream import MemoryFiles, SpooledFiles


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


def test_unused_files_are_closed() -> None:
    files = MemoryFiles()
    file = files.take()
    files.give(file)
    closed = file.close
    del file
    assert closed.alive
    files.clear()
    assert not closed.alive
