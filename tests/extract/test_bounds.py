"""What comes out of a file is bounded by what it holds, whatever it refers to over and over."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from auditor.extract import git_commits
from auditor.extract.base64_text import decoded_runs
from auditor.extract.compressed import inflate_raw
from auditor.extract.git_commits import CommitHistory
from bench.work import counted
from tests.extract.opened import opened
from tests.hostile.expensive import java_class, one_constant_in_many_places, wrapped


def test_a_constant_that_is_assigned_over_and_over_is_one_line() -> None:
    data = java_class([b"password", b"x" * 60_000], 5000)
    (piece,) = opened("C.class", data).pieces
    assert len(piece.data) < 3 * len(data)


def test_many_names_for_one_long_constant_are_within_the_limits() -> None:
    found = opened("m.pyc", one_constant_in_many_places(4000)["srv/m.pyc"], growth_free=100_000, growth=1)
    assert sum(len(piece.data) for piece in found.pieces) < 200_000


def test_lines_of_base64_of_a_new_width_need_no_new_expression() -> None:
    (text,) = wrapped(300).values()
    assert len(list(decoded_runs(text))) > 250
    assert counted(lambda: list(decoded_runs(text))).total < 30_000


def test_of_deflated_data_no_more_is_read_than_is_needed() -> None:
    engine = zlib.compressobj(0, wbits=-15)
    data = engine.compress(bytes(range(256)) * 4096) + engine.flush()
    assert inflate_raw(memoryview(data), 100_000, -15) == (bytes(range(256)) * 4096)[:100_000]
    assert inflate_raw(memoryview(data), 1 << 20, -15) == bytes(range(256)) * 4096


def tree(*entries: tuple[bytes, bytes, bytes]) -> bytes:
    return b"".join(b"%s %s\0%s" % entry for entry in entries)


def test_the_paths_of_a_repository_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_commits, "_MAX_BYTES", 20_000)
    names = [hashlib.sha1(b"%d" % n).digest() for n in range(500)]
    repository = CommitHistory()
    repository.add("tree", "a" * 40, tree((b"40000", b"d" * 4000, bytes.fromhex("b" * 40))))
    repository.add("tree", "b" * 40, tree(*((b"100644", b"f", name) for name in names)))
    repository.add("commit", "c" * 40, b"tree " + b"a" * 40 + b"\ncommitter a <a> 1 +0000\n")
    blob_paths = repository.blob_paths()
    assert repository.full and sum(map(len, blob_paths.values())) < 50_000
