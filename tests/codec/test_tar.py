"""Tar headers, against Python's own tarfile."""

from __future__ import annotations

import io
import struct
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import Header, normalise, number
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT
from tests.engines.rawtar import Entry, gnu_long, pax, tar
from tests.images import Item, file, folder, hardlink, layer, symlink


def walk(data: bytes, step: int = 1 << 20) -> list[Header]:
    walker, found = TarParser(DEFAULT), list[Header]()
    for at in range(0, len(data), step):
        found += walker.feed(memoryview(data[at : at + step]), at)
    walker.finish(len(data))
    return found


LONG = "d" * 90 + "/" + "e" * 200 + "/" + "f" * 90


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_gives_the_same_entries(form: int) -> None:
    data = layer(
        folder("a"),
        file("a/b", "content", mode=0o4755, uid=1000, gid=1001),
        symlink("a/l", "b"),
        hardlink("a/h", "a/b"),
        Item("dev", type=tarfile.CHRTYPE, device=(1, 3)),
        form=form,
    )
    found = walk(data)
    assert [(h.path, h.kind, h.size, h.link) for h in found] == [
        ("a", EntryKind.DIR, 0, ""),
        ("a/b", EntryKind.FILE, 7, ""),
        ("a/l", EntryKind.SYMLINK, 0, "b"),
        ("a/h", EntryKind.HARDLINK, 0, "a/b"),
        ("dev", EntryKind.CHAR, 0, ""),
    ]
    assert (found[1].mode, found[1].uid, found[1].gid, found[1].mtime) == (0o4755, 1000, 1001, 1_700_000_000)
    assert data[found[1].offset : found[1].offset + 7] == b"content"
    assert found[4].device == (1, 3)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("step", [512, 1536, 1 << 20])
def test_long_names_are_read_however_the_bytes_arrive(form: int, step: int) -> None:
    data = layer(file(LONG, "x"), symlink("l", LONG), file("after", "y"), form=form)
    assert [(h.path, h.link) for h in walk(data, step)] == [(LONG, ""), ("l", LONG), ("after", "")]


def test_pax_gives_extended_attributes_times_and_large_owners() -> None:
    (found,) = walk(
        layer(file("a", "x", uid=3_000_000, mtime=1.25, pax={"SCHILY.xattr.security.capability": "\x01\x02"}))
    )
    assert found.xattrs == {"security.capability": "\x01\x02"}
    assert (found.uid, found.mtime) == (3_000_000, 1.25)


def test_base_256_numbers_are_read() -> None:
    (found,) = walk(layer(file("a", uid=1 << 40), form=tarfile.GNU_FORMAT))
    assert found.uid == 1 << 40


def test_a_name_that_is_not_utf_8_is_kept() -> None:
    (found,) = walk(layer(file("caf\udce9"), form=tarfile.GNU_FORMAT))
    assert found.path == "caf\udce9"


@pytest.mark.parametrize(
    ("path", "want"),
    [("./a", "a"), ("/a//b/", "a/b"), ("a/../../b", "b"), ("../../etc/passwd", "etc/passwd"), ("./", ""), (".a", ".a")],
)
def test_paths_are_made_relative_and_free_of_dots(path: str, want: str) -> None:
    assert normalise(path) == want


def test_only_files_have_a_body() -> None:
    block = bytearray(layer(folder("a"), file("b", "x"), form=tarfile.USTAR_FORMAT))
    block[124:136] = b"00000000010\0"  # a size on a folder, which engines pass over
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    assert [h.path for h in walk(bytes(block))] == ["a", "b"]


def test_a_global_pax_header_is_passed_over() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c" * 600}) as tar:
        tar.addfile(tarfile.TarInfo("a"))
    assert [h.path for h in walk(out.getvalue())] == ["a"]


@pytest.mark.parametrize("cut", [100, 512 + 100, 1024 + 1])
def test_a_cut_tar_is_damaged(cut: int) -> None:
    with pytest.raises(Damaged):
        walk(layer(file("a", "x" * 2000))[:cut])


def test_a_bad_checksum_is_damaged() -> None:
    data = bytearray(layer(file("a", "x"), file("b", "y"), form=tarfile.USTAR_FORMAT))
    data[1024] ^= 1
    with pytest.raises(Damaged, match="offset 1024"):
        walk(bytes(data))


@pytest.mark.parametrize(
    "records", [b"9 path=a", b"999999 path=a\n", b"x path=a\n", b"8 patha\n", b"-1 path=a\n", b"0 a=b\n"]
)
def test_a_malformed_pax_record_is_damaged(records: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    data = info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") + layer(file("a"))
    with pytest.raises(Damaged):
        walk(data)


def test_extension_headers_without_end_are_damaged_and_bounded() -> None:
    one = tarfile.TarInfo("././@LongLink")
    one.type, one.size = tarfile.GNUTYPE_LONGNAME, 512
    chain = (one.tobuf(tarfile.GNU_FORMAT) + b"n" * 512) * 9000
    with pytest.raises(Damaged):
        walk(chain, 64 << 10)


def test_a_negative_or_impossible_size_is_damaged() -> None:
    for field in (b"\xff" * 12, b"notoctal\0\0\0\0"):
        block = bytearray(layer(file("a"), form=tarfile.USTAR_FORMAT)[:512])
        block[124:136] = field
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        with pytest.raises(Damaged):
            walk(bytes(block))


def test_a_lone_zero_block_is_skipped_and_two_end_the_archive() -> None:
    first, second = layer(file("a"))[:512], layer(file("b"))[:512]
    assert [h.path for h in walk(first + bytes(512) + second)] == ["a", "b"]
    assert [h.path for h in walk(first + bytes(1024) + second)] == ["a"]


def old_gnu_sparse() -> bytes:
    """A file of 1 MiB with 5 segments of 10 bytes: four in the header, one in an extension block."""
    segments = [(100_000 * n, 10) for n in range(1, 6)]
    block = bytearray(tarfile.TarInfo("sparse").tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[124:136] = b"%011o\0" % 50
    for n, (offset, size) in enumerate(segments[:4]):
        struct.pack_into("12s12s", block, 386 + 24 * n, b"%011o\0" % offset, b"%011o\0" % size)
    block[482] = 1
    block[483:495] = b"%011o\0" % (1 << 20)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    extension = bytearray(512)
    struct.pack_into("12s12s", extension, 0, b"%011o\0" % segments[4][0], b"%011o\0" % segments[4][1])
    body = b"".join(b"%010d" % n for n in range(5))
    return bytes(block) + bytes(extension) + body.ljust(512, b"\0")


def test_an_old_gnu_sparse_file_has_its_body_after_the_extension_blocks() -> None:
    data = old_gnu_sparse() + layer(file("after"))
    for step in (512, 1 << 20):
        sparse, after = walk(data, step)
        assert (sparse.offset, sparse.size, sparse.sparse, after.path) == (1024, 50, True, "after")


names = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=120)
entries = st.builds(
    Item,
    path=st.lists(names, min_size=1, max_size=4).map("/".join),
    data=st.binary(max_size=1500),
    type=st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE]),
    link=names,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 1 << 33),
    mtime=st.integers(0, 1 << 34),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(entries, max_size=8),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from([512, 4096]),
)
def test_every_entry_is_what_tarfile_reads(items: list[Item], form: int, step: int) -> None:
    data = layer(
        *(i if i.type == tarfile.REGTYPE else Item(i.path, type=i.type, link=i.link) for i in items), form=form
    )
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        want = [
            (
                normalise(m.name),
                m.size if m.isreg() else 0,
                m.mode,
                m.uid,
                m.linkname if m.issym() else "",
                m.offset_data,
            )
            for m in tar
        ]
    found = walk(data, step)
    assert [(h.path, h.size, h.mode, h.uid, h.link, h.offset) for h in found] == want


# --- headers that contradict one another: as Go's archive/tar reads them ---------------------------------------------


def only(*entries: Entry | bytes) -> Header:
    (found,) = walk(tar(*entries))
    return found


def test_a_file_whose_name_ends_in_a_slash_is_a_file_with_its_body() -> None:
    found = only(Entry(b"a/b/", data=b"body"))
    assert (found.path, found.kind, found.size) == ("a/b", EntryKind.FILE, 4)


def test_only_the_oldest_type_makes_a_folder_of_a_name_with_a_slash() -> None:
    assert only(Entry(b"d/", b"\0")).kind is EntryKind.DIR
    assert only(Entry(b"d", b"\0")).kind is EntryKind.FILE


@pytest.mark.parametrize("pax_first", [True, False])
def test_a_gnu_long_name_beats_a_pax_path(pax_first: bool) -> None:
    headers = [pax({"path": "of-pax", "linkpath": "of-pax"}), gnu_long(b"of-gnu") + gnu_long(b"to", b"K")]
    before = b"".join(headers if pax_first else headers[::-1])
    found = only(Entry(b"x", b"2", link=b"y", before=before))
    assert (found.path, found.link) == ("of-gnu", "to")


def test_a_global_header_drops_what_stands_before_it() -> None:
    dropped = pax({"path": "dropped", "uid": "7"}) + gnu_long(b"dropped")
    found = only(Entry(b"x", before=dropped + pax({"comment": "c"}, b"g")))
    assert (found.path, found.uid) == ("x", 0)


def test_of_two_pax_headers_the_second_counts_alone() -> None:
    found = only(Entry(b"x", before=pax({"path": "p", "uid": "7"}) + pax({"gid": "8"})))
    assert (found.path, found.uid, found.gid) == ("x", 0, 8)


def test_an_empty_pax_value_leaves_the_field() -> None:
    found = only(Entry(b"x", data=b"body", uid=5, before=pax({"path": "", "uid": "", "size": "", "mtime": ""})))
    assert (found.path, found.uid, found.size, found.mtime) == ("x", 5, 4, 1_700_000_000)


def test_a_star_prefix_has_131_bytes_and_a_ustar_prefix_155() -> None:
    prefix = b"p/" + b"q" * 120
    assert only(Entry(b"n", form="star", prefix=prefix)).path == prefix.decode() + "/n"
    assert only(Entry(b"n", prefix=b"p/" + b"q" * 150)).path == "p/" + "q" * 150 + "/n"


def test_a_header_of_the_oldest_form_has_neither_prefix_nor_device() -> None:
    assert only(Entry(b"n", form="v7", prefix=b"p")).path == "n"
    assert only(Entry(b"n", b"3", form="v7", device=(1, 3))).device == (0, 0)


def test_a_number_after_zero_bytes_is_read() -> None:
    assert number(b"\0\0" + b"0000644\0") == 0o644


def test_a_path_of_a_sparse_file_counts_only_where_the_file_is_sparse() -> None:
    unknown = {"GNU.sparse.name": "sparse", "GNU.sparse.major": "9", "GNU.sparse.minor": "9"}
    assert only(Entry(b"x", before=pax(unknown))).path == "x"
    known = {"GNU.sparse.name": "sparse", "GNU.sparse.map": "0,0", "GNU.sparse.size": "0"}
    assert only(Entry(b"x", before=gnu_long(b"long") + pax(known))).path == "sparse"
