"""Archives and compressed files, in each other."""

from __future__ import annotations

import bz2
import io
import lzma
import random
import zipfile
from collections.abc import Callable

import py7zr
import pytest

from auditor.codec.windows import AHEAD, WINDOW
from auditor.extract.member_extractor import MemberExtractor
from tests.extract.build import ar, cpio, deb, rpm
from tests.extract.opened import opened
from tests.images import file, folder, gzip_members, gzipped, image, layer, token, whiteout, zstd, zstd_chunked

SECRET = token(7)
LINE = f"TOKEN={SECRET}\n".encode()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def seven_zipped(files: dict[str, bytes], password: str | None = None, *, quick: bool = False) -> bytes:
    out = io.BytesIO()
    filters = [{"id": py7zr.FILTER_ZSTD, "level": 1}] if quick else None
    with py7zr.SevenZipFile(out, "w", password=password, filters=filters) as archive:
        for name, data in files.items():
            archive.writestr(data, name)
    return out.getvalue()


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
@pytest.mark.parametrize("name", ["a.zip", "a.jar", "a.war", "a.whl", "a.apk", "a.nupkg", "a.docx"])
def test_zip_and_its_kin_are_opened_however_compressed(name: str, method: int) -> None:
    found = opened(name, zipped({"x/": b"", "x/.env": LINE, "empty": b""}, method))
    assert found.ways(SECRET) == [("x/.env", ())]
    assert found.members == ["x/.env"] and not found.notes


def test_a_zip_behind_a_script_is_opened() -> None:
    data = b"#!/bin/sh\nexec java -jar $0\n" + zipped({"app.properties": LINE})
    assert MemberExtractor().is_extractable("app.jar", data[:512])
    assert opened("app.jar", data).ways(SECRET) == [("app.properties", ())]


class TestBytesOfAZipOutsideOfItsMembers:
    def texts(self, data: bytes) -> list[bytes]:
        return [piece.data for piece in opened("a.zip", data).pieces if piece.decoded == ("zip",)]

    def test_there_are_none_in_a_plain_zip(self) -> None:
        assert self.texts(zipped({"a": b"x" * 900, "b/": b"", "b/c": b"y"})) == []

    def test_there_are_none_in_a_zip_that_was_written_as_a_stream(self) -> None:
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

            def seek(self, *_: int) -> int:
                raise io.UnsupportedOperation

        out = Pipe()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", b"x" * 900)
            archive.writestr("b", b"y" * 900)
        assert archive.infolist()[0].flag_bits & 8
        assert self.texts(out.getvalue()) == []

    def test_comments_are_texts(self) -> None:
        out = io.BytesIO(zipped({"a": b"x"}))
        with zipfile.ZipFile(out, "a") as archive:
            archive.comment = b"of the archive"
            archive.getinfo("a").comment = b"of a member"
            archive.writestr("b", b"y")
        assert self.texts(out.getvalue()) == [b"\nof a member\nof the archive"]

    def test_a_member_that_is_not_listed_is_text(self) -> None:
        data = zipped({"hidden": b"password=hunter2"}, zipfile.ZIP_STORED)
        (text,) = self.texts(data[: data.index(b"PK\1\2")] + zipped({"a": b"x"}))
        assert b"password=hunter2" in text

    def test_long_extra_fields_are_texts(self) -> None:
        entry = zipfile.ZipInfo("a")
        entry.extra = b"\x99\x99" + (600).to_bytes(2, "little") + b"password=hunter2".ljust(600)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(entry, b"x")
        (text,) = self.texts(out.getvalue())
        assert text.count(b"password=hunter2") == 2  # of the local header, and of the directory

    def test_a_script_before_the_archive_is_text_and_a_program_is_not(self) -> None:
        assert self.texts(b"#!/bin/sh\n" + zipped({"a": b"x"})) == [b"\n#!/bin/sh\n"]
        assert self.texts(b"\x7fELF" + bytes(64 << 10) + zipped({"a": b"x"})) == []

    def test_more_than_a_members_bytes_are_noted(self) -> None:
        found = opened("a.zip", b"#!/bin/sh\n" * 99 + zipped({"a": b"x"}), member_bytes=100)
        assert found.notes == (
            ("a.zip", "has 990 bytes outside of its members, searched for tokens alone (limit member-bytes)"),
        )


def test_an_encrypted_member_is_noted_and_the_others_are_read() -> None:
    data = bytearray(zipped({"locked": LINE, "open": LINE}))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(magic) + flags] |= 1
    found = opened("a.zip", bytes(data))
    assert found.ways(SECRET) == [("open", ())]
    assert found.notes == (("locked", "is encrypted"),)


@pytest.mark.parametrize(
    ("squeeze", "kind"),
    [(gzipped, "gzip"), (gzip_members, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz"), (zstd, "zstd")],
)
def test_a_compressed_file_is_the_file_itself_decoded(squeeze: object, kind: str) -> None:
    assert callable(squeeze)
    found = opened("var/log/app.log.1", squeeze(LINE * 3))
    assert [(p.member, p.decoded, p.data) for p in found.pieces] == [(None, (kind,), LINE * 3)]


@pytest.mark.parametrize("squeeze", [gzipped, gzip_members, bz2.compress, lzma.compress, zstd, zstd_chunked])
def test_a_compressed_tar_is_opened(squeeze: object) -> None:
    assert callable(squeeze)
    files = {"a": b"x" * 700, "b": b"y" * 200_000, "c/.env": LINE, "d": b"z"}
    found = opened("a.tgz", squeeze(layer(files)))
    assert {p.member: p.data for p in found.pieces} == files and not found.notes
    assert found.ways(SECRET)[0][0] == "c/.env"


@pytest.mark.parametrize("long", [50, 150, 3000], ids=lambda n: f"name-of-{n}")
def test_names_of_any_length_and_windows_of_any_place_are_read_as_tarfile_writes_them(long: int) -> None:
    files = {f"{'n' * long}{number}": bytes([65 + number]) * (number * 9973) for number in range(1, 25)}
    found = opened("a.tar", layer(files))
    assert {p.member: p.data for p in found.pieces} == files


def test_links_and_folders_have_no_content() -> None:
    assert opened("a.tar", layer(folder("x"), file("empty"), whiteout("gone"))).members == []


def test_archives_lie_in_archives() -> None:
    inner = zipped({"app.properties": LINE})
    found = opened("a.tar.gz", gzipped(layer({"lib/inner.jar": inner, "b.gz": gzipped(LINE)})))
    assert found.ways(SECRET) == [("lib/inner.jar!app.properties", ("gzip",)), ("b.gz", ("gzip", "gzip"))]


def test_a_saved_image_in_an_image_shows_what_its_upper_layer_deleted() -> None:
    built = image(layer({"root/.env": LINE}), layer(whiteout("root/.env")))
    for squeeze in ("plain", "gzip", "zstd"):
        found = opened("saved.tar", layer(built.oci_files(squeeze)))
        (member, _), *rest = found.ways(SECRET)
        assert not rest and member is not None
        assert member.startswith("blobs/sha256/") and member.endswith("!root/.env")


def test_a_layer_too_large_for_memory_is_walked_as_a_stream() -> None:
    large = layer({"big": b"0" * 5_000_000, "after/.env": LINE})
    data = layer({"layer.tar": large, "squeezed": gzipped(large), "big": b"1" * 5_000_000, "last": LINE})
    found = opened("saved.tar", data, member_bytes=100_000)
    assert [way for way, _ in found.ways(SECRET)] == ["layer.tar!after/.env", "squeezed!after/.env", "last"]
    assert found.notes == ()


@pytest.mark.parametrize("at", [0, 1000, WINDOW - AHEAD, WINDOW - 20, WINDOW, WINDOW + 1, 2 * WINDOW - 10, 9_999_000])
def test_a_file_too_large_for_memory_comes_in_windows_of_which_one_owns_each_place(at: int) -> None:
    content = bytearray(b"x\n" * 5_000_000)
    content[at : at + len(SECRET)] = SECRET.encode()
    pieces = opened("a.tar.gz", gzipped(layer({"big": bytes(content)}))).pieces
    ends = []
    for piece in pieces:
        window = piece.window
        assert window is not None and content[window.start : window.start + len(piece.data)] == piece.data
        assert window.newlines == content.count(b"\n", 0, window.start)
        end = piece.data.find(SECRET.encode()) + len(SECRET)
        if end >= len(SECRET) and window.owned_from <= window.start + end < window.owned_to:
            ends.append(window.start + end)
    assert ends == [at + len(SECRET)]


def test_packages_are_opened() -> None:
    for name, data in {
        "a.deb": deb({"./etc/app.conf": LINE}),
        "a.rpm": rpm({"./etc/app.conf": LINE}),
        "b.rpm": rpm({"./etc/app.conf": LINE}, zstd),
        "c.rpm": rpm({"./etc/app.conf": LINE}, lzma.compress),
        "initrd": cpio({"etc/app.conf": LINE}),
        "initrd.gz": gzipped(cpio({"etc/app.conf": LINE})),
        "a.7z": seven_zipped({"etc/app.conf": LINE}),
    }.items():
        assert MemberExtractor().is_extractable(name, data[:512]), name
        found = opened(name, data)
        (member, _), *rest = found.ways(SECRET)
        assert not rest and not found.notes, (name, found.notes)
        assert member and member.endswith("etc/app.conf")


def test_static_libraries_pictures_fonts_and_programs_are_not_opened() -> None:
    is_extractable = MemberExtractor().is_extractable
    heads = [
        b"\x7fELF\2\1\1",
        b"\x89PNG\r\n\x1a\n",
        b"wOFF\0\1\0\0",
        b"GIF89a",
        b"\xff\xd8\xff\xe0",
        b"plain text\n" * 40,
    ]
    heads += [ar({"a.o": b"\x7fELF"}), b"", b"\0", b"\0" * 512, b"\xca\xfe\xba\xbe\0\0\0\2"]
    assert not any(is_extractable("usr/lib/x", head[:512]) for head in heads)


def test_an_encrypted_7z_is_noted() -> None:
    found = opened("a.7z", seven_zipped({"x": LINE}, "password"))
    assert not found.pieces and found.notes == (("a.7z", "is encrypted"),)


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [True, False])
def test_utf_16_is_read_both_ways_with_and_without_a_mark(order: str, mark: bool) -> None:
    text = ("\ufeff" if mark else "") + f"ключ = 'x'\n{'# ' * 40}\nTOKEN={SECRET}\n"
    data = ("#" * 30 + text if not mark else text).encode(order)
    assert opened("a.txt", data).ways(SECRET) == [(None, (order.replace("16-", "16"),))]
    assert opened("a.tar", layer({"a.txt": data})).ways(SECRET)[0][0] == "a.txt"


def test_utf_16_in_any_script_is_read_and_noise_behind_its_mark_is_not() -> None:
    data = ("\ufeff" + "пароль и ключ\n" * 40 + SECRET).encode("utf-16-le")
    assert opened("a.txt", data).ways(SECRET)
    assert not MemberExtractor().is_extractable("a.mp3", b"\xff\xfe" + bytes(range(256)) * 2)


def test_a_member_is_returned_by_the_way_to_it() -> None:
    inner = zipped({"app.properties": LINE, "other": b"x"})
    data = gzipped(layer({"lib/inner.jar": inner, "b.gz": gzipped(LINE)}))
    get = MemberExtractor().member_content
    assert get("a.tgz", data, "lib/inner.jar!app.properties") == LINE
    assert get("a.tgz", data, "lib/inner.jar") == inner
    assert get("a.tgz", data, "b.gz") == gzipped(LINE)
    assert get("a.tgz", data, "lib/inner.jar!none") is None
    assert get("a.txt", b"plain", "x") is None


@pytest.mark.parametrize("squeeze", [gzipped, lzma.compress], ids=["gzip", "xz"])
@pytest.mark.parametrize("size", [0, 3 * WINDOW], ids=["small", "windows"])
def test_what_comes_before_other_bytes_is_read(squeeze: Callable[[bytes], bytes], size: int) -> None:
    """gunzip and xz write it out, and report the other bytes after it."""
    secret = token()
    found = opened("a.gz", squeeze(b"x" * size + f"\nkey = {secret}\n".encode()) + b"other bytes")
    assert found.ways(secret)
    assert ["is broken after" in why for _, why in found.notes] == [True]


def test_members_before_other_bytes_are_read() -> None:
    secret = token()
    found = opened("a.tar.gz", gzipped(layer({"a": b"x", "key": secret.encode()})) + b"other bytes")
    assert [member for member, _ in found.ways(secret)] == ["key"]


def gzipped_cpio(files: dict[str, bytes]) -> bytes:
    return gzipped(cpio(files))


def gzipped_tar(files: dict[str, bytes]) -> bytes:
    return gzipped(layer(files))


@pytest.mark.parametrize(("archive", "begin"), [(gzipped_cpio, 20), (gzipped_tar, 20), (rpm, 200)])
def test_an_archive_that_breaks_off_anywhere_is_noted(archive: Callable[[dict[str, bytes]], bytes], begin: int) -> None:
    data = archive({f"f{number}": random.Random(number).randbytes(300) for number in range(4)})
    beyond = 20  # bytes of the stream behind the mark of the end of the archive
    assert [at for at in range(begin, len(data) - beyond) if not opened("a", data[:at]).notes] == []
