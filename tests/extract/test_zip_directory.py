"""The directory of a zip, against that of the standard library; members that are larger than a window."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.codec.file_slices import SharedFile
from auditor.codec.random_access import BytesAccess
from auditor.codec.windows import WINDOW
from auditor.core.limits import DEFAULT
from auditor.extract import member_stream
from auditor.extract.zip_directory import BrokenDirectory, Directory, TooManyEntries
from tests.extract.opened import opened
from tests.extract.test_archives import LINE, SECRET, zipped
from tests.images import layer

MIB = 1 << 20
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


def directory(data: bytes, most: int = 1 << 20) -> Directory:
    return Directory(BytesAccess(data), DEFAULT, most)


def summary(data: bytes) -> list[tuple[object, ...]]:
    return [(e.path, e.flags, e.method, e.packed_size, e.size, e.header, e.comment) for e in directory(data)]


def expected(data: bytes) -> list[tuple[object, ...]]:
    return [
        (e.filename, e.flag_bits, e.compress_type, e.compress_size, e.file_size, e.header_offset, e.comment)
        for e in zipfile.ZipFile(io.BytesIO(data)).infolist()
    ]


@given(
    st.dictionaries(NAMES, st.binary(max_size=50), max_size=6),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.binary(max_size=60).filter(lambda data: b"PK" not in data),
    st.binary(max_size=60).filter(lambda data: b"PK" not in data),
)
def test_it_is_that_of_the_standard_library(
    files: dict[str, bytes], method: int, before: bytes, comment: bytes
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    for data in (out.getvalue(), before + out.getvalue()):
        assert summary(data) == expected(data)
        assert directory(data).start == zipfile.ZipFile(io.BytesIO(data)).start_dir


def test_an_archive_of_more_than_65535_members_is_read_by_its_large_end_record() -> None:
    data = zipped({str(number): b"" for number in range(66_000)}, zipfile.ZIP_STORED)
    assert b"PK\x06\x06" in data and summary(b"#!/bin/sh\n" + data) == expected(b"#!/bin/sh\n" + data)


def with_large_numbers(data: bytes, *numbers: int) -> bytes:
    """A zip of one member whose size, packed size and offset are in an extra field."""
    at, end = data.rfind(b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    field = struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
    entry = bytearray(data[at:end])
    entry[20:28] = b"\xff" * 8
    entry[42:46] = b"\xff" * 4
    entry[30:32] = struct.pack("<H", len(field))
    final = bytearray(data[end:])
    final[12:16] = struct.pack("<L", len(entry) + len(field))
    return data[:at] + bytes(entry) + field + bytes(final)


def test_large_numbers_are_those_of_the_extra_field() -> None:
    data = zipped({"a.env": LINE}, zipfile.ZIP_STORED)
    patched = with_large_numbers(data, len(LINE), len(LINE), 0)
    assert summary(patched) == expected(patched)
    assert opened("a.zip", patched).ways(SECRET) == [("a.env", ())]


@pytest.mark.parametrize("numbers", [(), (1 << 63, 1 << 63, 1 << 63), (5,), ((1 << 64) - 1,) * 3], ids=str)
def test_large_numbers_that_are_wrong_are_noted(numbers: tuple[int, ...]) -> None:
    patched = with_large_numbers(zipped({"a.env": LINE}, zipfile.ZIP_STORED), *numbers)
    found = opened("a.zip", patched)
    assert any("a.env" in where for where, _ in found.notes) or found.ways(SECRET) == [("a.env", ())]


def test_a_name_that_is_not_utf_8_breaks_nothing() -> None:
    data = bytearray(zipped({"é.env": LINE}))
    for at in (data.find("é".encode()), data.rfind("é".encode())):
        data[at : at + 2] = b"\xff\xfe"
    assert opened("a.zip", bytes(data)).ways(SECRET) == [("\ufffd\ufffd.env", ())]


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_every_other_end_is_broken(cut: int) -> None:
    data = zipped({"a": b"x", "b": b"y"})
    with pytest.raises(BrokenDirectory):
        directory(data[:-cut])


def test_more_entries_than_are_wanted() -> None:
    with pytest.raises(TooManyEntries):
        directory(zipped({str(number): b"" for number in range(4)}), 3)


def with_size(data: bytes, size: int) -> bytes:
    """A zip whose directory says another size of its last member."""
    at = data.rfind(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<L", size) + data[at + 4 :]


@pytest.mark.parametrize("size", [0, 5, WINDOW + 1], ids=str)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2], ids=str)
def test_a_member_is_read_to_its_end_whatever_size_the_directory_says(method: int, size: int) -> None:
    data = with_size(zipped({"a.env": b"x" * (size + 500) + b"\n" + LINE}, method), size)
    assert opened("a.zip", data).ways(SECRET) == [("a.env", ())]


def test_what_lzma_holds_beyond_its_size_is_noted() -> None:
    found = opened("a.zip", with_size(zipped({"a.env": b"x" * 500 + LINE}, zipfile.ZIP_LZMA), 5))
    assert found.notes == (("a.env", "has more than the 5 bytes that the directory says; the rest was left out"),)


def test_a_folder_with_content_is_read() -> None:
    assert opened("a.zip", zipped({"a/": LINE})).ways(SECRET) == [("a/", ())]


def test_members_that_the_directory_does_not_list_are_noted() -> None:
    data = bytearray(zipped({"a.env": b"x" * 500 + b"\n" + LINE}))
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = bytes(4)  # the size of the directory
    assert opened("a.zip", bytes(data)).notes == (
        ("a.zip", "has members that its directory does not list; they are searched as they are stored"),
    )


class TestLargeMembers:
    """Of more than a window: read front to back, whatever their size."""

    NOISE = random.Random(5).randbytes(WINDOW + 1)

    @pytest.mark.parametrize(
        "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
    )
    def test_the_end_is_searched_too(self, method: int) -> None:
        data = zipped({"lib.so": self.NOISE + LINE, "small": LINE}, method)
        found = opened("a.jar", data)
        assert found.ways(SECRET) == [("lib.so", ()), ("small", ())] and not found.notes

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=str)
    def test_the_limit_of_members_in_memory_does_not_count(self, method: int) -> None:
        found = opened("a.jar", zipped({"lib.so": self.NOISE + LINE}, method), member_bytes=MIB)
        assert found.ways(SECRET) == [("lib.so", ())] and not found.notes

    @pytest.mark.parametrize("outer", ["zip", "tar"])
    def test_a_zip_in_an_archive_is_opened_from_a_temporary_file(
        self, monkeypatch: pytest.MonkeyPatch, outer: str
    ) -> None:
        files = {"inner.jar": zipped({"lib.so": self.NOISE, "a.env": LINE}, zipfile.ZIP_STORED), "after": LINE}
        data = zipped(files) if outer == "zip" else layer(files)
        monkeypatch.setattr(member_stream, "_IN_MEMORY", MIB)
        found = opened(f"a.{outer}", data, member_bytes=MIB)
        assert found.ways(SECRET) == [("inner.jar!a.env", ()), ("after", ())] and not found.notes

    def test_a_zip_in_an_archive_beyond_the_limit_is_noted(self) -> None:
        found = opened("a.tar", layer({"inner.jar": zipped({"lib.so": self.NOISE}), "after": LINE}), indexed_bytes=MIB)
        assert found.ways(SECRET) == [("after", ())]
        assert found.notes[0] == (
            "inner.jar", f"goes on beyond {MIB} bytes and is not opened (limit indexed-bytes)"
        )  # fmt: skip

    def test_a_temporary_file_that_cannot_be_written_is_noted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: object, data: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(member_stream, "_IN_MEMORY", MIB)
        monkeypatch.setattr(SharedFile, "append", full)
        found = opened("a.tar", layer({"inner.jar": zipped({"lib.so": self.NOISE}), "after": LINE}))
        assert found.ways(SECRET) == [("after", ())]
        assert "can't be copied to a temporary file: No space left on device" in found.notes[0][1]

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2], ids=str)
    def test_what_is_broken_from_the_start_is_noted(self, method: int) -> None:
        data = bytearray(zipped({"lib.so": self.NOISE, "after": LINE}, method))
        data[36:44] = b"\xff" * 8
        found = opened("a.jar", bytes(data))
        assert found.ways(SECRET) == [("after", ())] and found.notes[0][0] == "lib.so"
        assert "is broken after 0 bytes" in found.notes[0][1]

    def test_what_breaks_off_is_noted_and_the_bytes_before_are_searched(self) -> None:
        data = bytearray(zipped({"lib.so": LINE + self.NOISE.hex().encode(), "after": LINE}))
        data[WINDOW // 2 : WINDOW // 2 + 100] = b"\xff" * 100
        found = opened("a.jar", bytes(data))
        assert ("lib.so", ()) in found.ways(SECRET) and ("after", ()) in found.ways(SECRET)
        assert any("lib.so" in where and "broken" in why for where, why in found.notes), found.notes
