"""Every row of the table of archive formats recognises a sample and extracts its text; signatures and rows agree."""

from __future__ import annotations

import bz2
import lzma
import py_compile
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from auditor.codec.compression import compression_of
from auditor.codec.signatures import HEAD, SIGNATURES, is_opaque, signature_of
from auditor.extract.formats import ARCHIVE_FORMATS, FORMATS, ArchiveFormat, format_of
from tests.extract.build import cpio, deb, rpm
from tests.extract.opened import opened
from tests.extract.test_archives import seven_zipped, zipped
from tests.hostile.expensive import java_class
from tests.images import gzipped, layer, token, zstd

SECRET = token(23)
TEXT = f"TOKEN={SECRET}\n"


def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE t (password TEXT)")
        base.execute("INSERT INTO t VALUES (?)", (SECRET,))
        base.commit()
        return base.serialize()


def compiled(folder: Path) -> bytes:
    (folder / "a.py").write_text(f'TOKEN = "{SECRET}"\n')
    py_compile.compile(str(folder / "a.py"), str(folder / "a.pyc"), doraise=True)
    return (folder / "a.pyc").read_bytes()


def pack() -> bytes:
    data = TEXT.encode()
    assert 15 < len(data) < 2048
    header = bytes([0x80 | 3 << 4 | len(data) & 15, len(data) >> 4])
    return b"PACK" + struct.pack(">II", 2, 1) + header + zlib.compress(data) + bytes(20)


FILES = {"etc/.env": TEXT.encode()}
SAMPLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip": ("a.bin", lambda: zipped(FILES)),
    "tar": ("a.bin", lambda: layer({"etc/.env": TEXT})),
    "gzip": ("a.bin", lambda: gzipped(TEXT.encode())),
    "bzip2": ("a.bin", lambda: bz2.compress(TEXT.encode())),
    "xz": ("a.bin", lambda: lzma.compress(TEXT.encode())),
    "zstd": ("a.bin", lambda: zstd(TEXT.encode())),
    "cpio": ("a.bin", lambda: cpio(FILES)),
    "deb": ("a.bin", lambda: deb(FILES)),
    "rpm": ("a.bin", lambda: rpm(FILES)),
    "7z": ("a.bin", lambda: seven_zipped(FILES, quick=True)),
    "sqlite": ("a.bin", database),
    "utf-16le": ("a.txt", lambda: b"\xff\xfe" + TEXT.encode("utf-16-le")),
    "utf-16be": ("a.txt", lambda: b"\xfe\xff" + TEXT.encode("utf-16-be")),
    "class": ("A.bin", lambda: java_class([b"password", SECRET.encode()], 1)),
    "der": (
        "a.bin",
        lambda: b"\x30\x82\xff\xff\x02\x01\0\x30" + bytes(64 << 10) + TEXT.encode(),
    ),  # no key, so as it is
    "git-object": (f"objects/ab/{'c' * 38}", lambda: zlib.compress(b"blob %d\0" % len(TEXT) + TEXT.encode())),
    "git-pack": ("a.bin", pack),
}
BY_NAME_ONLY = {"rpmdb"}


def sample(row: ArchiveFormat, folder: Path) -> tuple[str, bytes]:
    if row.name == "pyc":
        return "a.pyc", compiled(folder)
    path, make = SAMPLES[row.name]
    return path, make()


def test_every_row_has_a_sample() -> None:
    assert {row.name for row in ARCHIVE_FORMATS} == {*SAMPLES, "pyc", *BY_NAME_ONLY}
    assert len(FORMATS) == len(ARCHIVE_FORMATS)


SIGNED = [row for row in ARCHIVE_FORMATS if row.name not in BY_NAME_ONLY]


@pytest.mark.parametrize("row", SIGNED, ids=lambda row: row.name)
def test_a_row_recognises_and_extracts_its_sample(row: ArchiveFormat, tmp_path: Path) -> None:
    path, data = sample(row, tmp_path)
    assert format_of(path, data[:HEAD]) is row
    extracted = opened(path, data)
    assert extracted.ways(SECRET) and not extracted.notes


@pytest.mark.parametrize("row", ARCHIVE_FORMATS, ids=lambda row: row.name)
def test_a_row_is_streamed_or_buffered_and_isolated_only_when_buffered(row: ArchiveFormat) -> None:
    assert [row.read_stream, row.read_buffer, row.read_random].count(None) == 2
    assert not (row.isolated and row.streamed)
    assert all(len(ending) == 4 for ending in row.endings)


@pytest.mark.parametrize("row", SIGNED, ids=lambda row: row.name)
def test_damaged_files_of_every_format_raise_nothing(row: ArchiveFormat, tmp_path: Path) -> None:
    path, data = sample(row, tmp_path)
    for size in (1, 2, 5, HEAD // 2, len(data) // 2, len(data) - 1):
        opened(path, data[:size])


def test_containers_of_the_signature_table_are_formats() -> None:
    assert {signature.name for signature in SIGNATURES if signature.is_container} <= set(FORMATS)


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: f"{signature.name}-{signature.magic.hex()}")
def test_a_signature_is_found_by_its_magic_bytes(signature: object) -> None:
    row = next(row for row in SIGNATURES if row is signature)
    if row.check is None:
        found = signature_of(row.magic + bytes(HEAD))
        assert found is not None and found.name == row.name
        head = row.magic.ljust(16, b"-")
        assert [is_opaque(head, size) for size in (0, 1 << 30)] == [row.opaque_from == 0, row.opaque_from is not None]


@pytest.mark.parametrize("name", ["MZ.txt", "BZh.txt", "07070.txt", "RIFF", "GIF89a.gif"])
def test_a_tar_whose_first_file_is_named_like_a_signature_is_a_tar(name: str) -> None:
    row = format_of("a", layer({name: TEXT})[:HEAD])
    assert row is not None and row.name == "tar"


def test_compression_is_told_by_the_first_bytes() -> None:
    for name in ("gzip", "bzip2", "xz", "zstd"):
        assert compression_of(SAMPLES[name][1]()[:8]) == name
    assert compression_of(b"\x55\x2a\x4d\x18" + bytes(4)) == "zstd"
    assert compression_of(zipped(FILES)[:8]) is None
