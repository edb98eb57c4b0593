"""Files made to cost time or memory, and files of noise: nothing is raised, everything is bounded and noted."""

from __future__ import annotations

import bz2
import hashlib
import io
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.codec.windows import OVERLAP, WINDOW
from auditor.core.limits import Limits
from auditor.extract.member_extractor import MemberExtractor
from tests.extract.build import ar, cpio, deb, rpm, rpm_header
from tests.extract.opened import decoded, opened
from tests.extract.test_archives import seven_zipped, zipped
from tests.images import gzipped, layer, token, zstd

MIB = 1 << 20


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """No test here takes a minute of the processor (what explodes takes hours), or 200 MiB of Python's memory."""
    tracemalloc.start()
    began = time.process_time()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * MIB
    assert time.process_time() - began < 60


FILES = {"large": bytes(2 * MIB), "small": b"x"}
ZEROS = bytes(64 * MIB)


# Made for the session, before a test is measured: making them takes memory.
@pytest.fixture(scope="session")
def seven_files() -> bytes:
    return seven_zipped(FILES)


@pytest.fixture(scope="session")
def seven_many() -> bytes:
    return seven_zipped({str(number): b"x" for number in range(101)})


@pytest.fixture(scope="session")
def seven_large() -> bytes:
    return seven_zipped({str(number): random.Random(number).randbytes(MIB) * 30 for number in range(4)}, quick=True)


@pytest.fixture(scope="session")
def zlib_zeros() -> bytes:
    return zlib.compress(bytes(200 * MIB))


@pytest.mark.parametrize("squeeze", [gzipped, bz2.compress, zstd], ids=["gzip", "bzip2", "zstd"])
def test_a_bomb_of_one_stream_is_cut(squeeze: object) -> None:
    assert callable(squeeze)
    data = squeeze(ZEROS)
    found = opened("a.gz", data, unpacked_bytes=32 * MIB)
    assert max(len(p.data) for p in found.pieces) <= WINDOW + OVERLAP
    assert len(found.notes) == 1


def test_a_bomb_of_bzip2_in_a_zip_that_says_a_thousand_bytes_is_stopped_by_the_ratio() -> None:
    data = bytearray(zipped({"a": bytes(64 * MIB)}, zipfile.ZIP_BZIP2))
    at = data.find(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 1000)
    found = opened("a.zip", bytes(data))
    assert sum(len(piece.data) for piece in found.pieces) < 20 * MIB and "grows more than" in found.notes[-1][1]


def test_entries_that_overlap_are_stopped_by_the_ratio() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(8 * MIB))
        archive.filelist += [archive.filelist[0]] * 200
    found = opened("a.zip", out.getvalue())
    assert len(found.pieces) < 20
    assert "grows more than" in found.notes[-1][1]


def test_archives_in_archives_are_followed_five_deep() -> None:
    data = b"the end"
    for _ in range(12):
        data = zipped({"a.zip": data})
    found = opened("a.zip", data)
    assert [member and member.count("!") for member in found.members] == [5]
    assert "in more than 5 archives" in found.notes[0][1]


def test_a_quine_ends() -> None:
    quine, nested = gzipped(b""), b""
    for _ in range(50):
        nested = quine = gzipped(quine)
    found = opened("a.gz", nested)
    assert len(found.pieces) <= 1 and "in more than 5 archives" in found.notes[0][1]


def test_many_members_are_cut(seven_many: bytes) -> None:
    many = {str(number): b"x" for number in range(200)}
    for name, data in {"a.zip": zipped(many), "a.tar": layer(many), "a.cpio": cpio(many)}.items():
        found = opened(name, data, members=100)
        assert len(found.pieces) == 100
        assert found.notes == ((name, "more than 100 members; the rest was left out (limit members)"),)
    assert "members" in opened("a.zip", zipped(many), members=20).notes[0][1]
    assert "more than 100" in opened("a.7z", seven_many, members=100).notes[0][1]


def test_a_member_that_is_too_large_is_noted_and_the_next_is_read(seven_files: bytes) -> None:
    for name, data in {
        "a.zip": zipped(FILES),
        "a.cpio": cpio(FILES),
        "a.rpm": rpm(FILES),
        "a.7z": seven_files,
    }.items():
        found = opened(name, data, member_bytes=MIB)
        assert any(member and member.endswith("small") for member in found.members), name
        assert any("large" in where and "2097152 bytes" in why for where, why in found.notes), (name, found.notes)


def test_the_whole_and_the_time_are_limited() -> None:
    data = layer({str(number): gzipped(bytes([number]) * MIB) for number in range(20)})
    found = opened("a.tar", data, unpacked_bytes=5 * MIB)
    assert len(found.pieces) == 5 and "more than 5242880 bytes" in found.notes[0][1]
    assert "takes more than 0 s" in opened("a.tar", data, file_time=0).notes[0][1]


def test_notes_are_limited() -> None:
    data = layer({f"{number}.gz": b"\x1f\x8b\x08broken" for number in range(100)})
    found = opened("a.tar", data)
    assert len(found.notes) == Limits().notes
    assert found.notes[-1] == ("a.tar", "more members were skipped than are listed (limit notes)")


def test_extension_headers_without_end_are_refused() -> None:
    import tarfile

    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 900_000
    data = (info.tobuf() + b"n" * 900_000 + bytes(-900_000 % 512)) * 20
    assert opened("a.tar", data).notes
    assert opened("a.tar.gz", gzipped(data)).notes


def test_sizes_that_are_negative_or_huge_are_refused() -> None:
    header = bytearray(layer({"a": b"x"})[:512])
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    for name, data in {
        "a.tar": bytes(header) + bytes(1024),
        "a.deb": b"!<arch>\ndebian-binary   0           0     0     100644  -4        `\n",
        "b.deb": b"!<arch>\ndebian-binary   0           0     0     100644  9999999999`\n",
        "a.rpm": b"\xed\xab\xee\xdb" + bytes(92) + b"\x8e\xad\xe8\x01" + b"\0" * 4 + b"\xff" * 8,
        "b.rpm": rpm_header(b"\xed\xab\xee\xdb" + bytes(92)),
        "a.cpio": b"070701" + b"ffffffff" * 13 + b"name",
        "b.cpio": b"070701" + b"-0000001" * 13 + b"name",
        "a.zip": b"PK\x03\x04" + b"\xff" * 300,
    }.items():
        opened(name, data)


def test_a_7z_header_that_unpacks_to_more_than_it_should_is_refused() -> None:
    names = ("x" * 9 + "\0").encode("utf-16-le") * 400_000
    files = bytes([0x05, 0xE0]) + (400_000).to_bytes(3, "little")[:2] + bytes(1) + names
    inner = b"\x01" + files
    digest = zlib.crc32(inner)
    start = struct.pack("<QQI", 0, len(inner), digest)
    data = b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + inner
    assert opened("a.7z", data).notes


def packed(*objects: tuple[int, bytes, bytes, int | None]) -> bytes:
    """A pack of (type, bytes between header and data, data, the size it says)."""
    out = b"PACK" + struct.pack(">II", 2, len(objects))
    for kind, base, data, says in objects:
        size = len(data) if says is None else says
        byte, size = kind << 4 | size & 15, size >> 4
        while size:
            out += bytes([byte | 0x80])
            byte, size = size & 0x7F, size >> 7
        out += bytes([byte]) + base + zlib.compress(data)
    return out + bytes(20)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def name_of(data: bytes) -> bytes:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).digest()


def test_deltas_that_go_round_or_have_no_base_are_noted() -> None:
    delta = varint(1) + varint(1) + b"\x01a"
    one, two = b"1" * 20, b"2" * 20
    data = packed((7, one, delta, None), (7, two, delta, None), (6, b"\x05", delta, None), (6, b"\0", delta, None))
    found = opened("a.pack", data)
    assert not found.pieces and "4 git deltas have their base in another pack" in found.notes[0][1]


def test_a_delta_that_grows_without_bound_is_left_out() -> None:
    base = b"x" * 60_000
    copies = b"\xb0\x60\xea" * 20_000
    huge = varint(len(base)) + varint(60_000 * 20_000) + copies
    wrong = varint(len(base)) + varint(100) + copies
    good = varint(len(base)) + varint(5) + b"\x05hello"
    data = packed((3, b"", base, None), *((7, name_of(base), delta, None) for delta in (huge, wrong, good)))
    found = opened("a.pack", data)
    assert [p.data for p in found.pieces] == [base, b"hello"]
    assert [why for _, why in found.notes] == [
        f"1 git objects of more than {32 * MIB} bytes were left out (limit member-bytes)",
        "1 git deltas are broken",
    ]


def test_a_chain_of_deltas_that_each_double_is_stopped() -> None:
    content, objects = b"x" * 1000, [(3, b"", b"x" * 1000, None)]
    for _ in range(40):
        copy = b"\xf0" + len(content).to_bytes(3, "little")
        delta = varint(len(content)) + varint(2 * len(content)) + copy * 2
        objects.append((7, name_of(content), delta, None))
        content = content * 2 if len(content) < 8 * MIB else content
    found = opened("a.pack", packed(*objects))
    assert found.notes


def test_objects_that_say_a_wrong_size_end_the_pack(zlib_zeros: bytes) -> None:
    for says in (1, 100, 1 << 40):
        found = opened("a.pack", packed((3, b"", b"first", None), (3, b"", b"hello", says)))
        assert "broken git pack" in found.notes[0][1]
        assert [p.data for p in found.pieces] == [b"first"]
    assert opened("a.pack", b"PACK" + struct.pack(">II", 2, 1) + b"\x35" + zlib_zeros).notes


def test_a_pack_of_too_many_objects_is_read_in_part() -> None:
    found = opened("a.pack", packed(*((3, b"", b"%d" % number, None) for number in range(30))), git_objects=10)
    assert len(found.pieces) == 10 and "30 git objects; the first 10" in found.notes[0][1]


def test_texts_made_to_be_slow_are_not() -> None:
    for text in (
        b"A" * MIB,
        b"QUFB" * (MIB // 4),
        (b"QUFB" * 16 + b"\n") * (MIB // 65),
        b"%41" * (MIB // 3),
        b"%41 " * (MIB // 4),
        b"{" + b'\\"' * (MIB // 2),
        b'{"' + b"\\na\n" * (MIB // 4),
        b"\\nABCD=" * (MIB // 7),
        b"4142" * (MIB // 4),
        (b"41" * 16 + b"\n") * (MIB // 33),
        b"kind: Secret\n" + b"aaaaaaaaaa" * (MIB // 10),
        b"kind: Secret\n" + b"a: aaaaaaaa\n" * (MIB // 12),
        b"-----BEGIN " * (MIB // 11),
        b"a.b=" * (MIB // 4) + b"QUFB" * 10,
    ):
        tracemalloc.stop()
        decoded(text)
        tracemalloc.start()


SEEDS = [
    zipped({"a": b"hello", "b": token(1).encode() * 30}),
    zipped({"a": b"hello" * 10}, zipfile.ZIP_LZMA),
    layer({"a": b"hello", "b.gz": gzipped(b"x" * 99), "n" * 120: b"y"}),
    gzipped(layer({"a": b"hello"})),
    zstd(layer({"a": b"hello"})),
    deb({"a": b"x"}),
    rpm({"a": b"x"}),
    cpio({"a": b"x"}),
    ar({"debian-binary": b"2.0"}),
    packed((3, b"", b"hello", None), (7, name_of(b"hello"), varint(5) + varint(6) + b"\x90\x05\x01!", None)),
    "ab = 'x'\n".encode("utf-16") * 20,
    b"\xca\xfe\xba\xbe\0\0\0\x37\0\x05\1\0\x06secret" + bytes(40),
    b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(20) + b"s\2\0\0\0d\0)\1Z\3abc" + bytes(30),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=6)), max_size=6),
    cut=st.integers(0, 4000),
    name=st.sampled_from(["a.zip", "a.tar", "a.pyc", "a.gz", "r/.git/objects/ab/" + "c" * 38]),
)
def test_damaged_files_raise_nothing(seed: bytes, edits: list[tuple[int, bytes]], cut: int, name: str) -> None:
    data = bytearray(seed)
    for at, new in edits:
        place = at % len(data)
        data[place : place + len(new)] = new
    short = bytes(data[: max(1, cut % (2 * len(data)))])
    found = opened(name, short, file_time=2)
    assert sum(len(p.data) for p in found.pieces) <= 16 * MIB
    for member in {member for member in found.members if member}:
        MemberExtractor().member_content(name, short, member)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["QUFB", "%3D", "\\n", '\\"', "\\u003d", "\n", "{", "41", "key: ", "=", "-", "x"]), max_size=60
    )
)
def test_any_text_is_decoded_without_an_error(words: list[str]) -> None:
    for piece in decoded("".join(words)).pieces:
        assert piece.line and piece.decoded


MEASURE = """
import resource, sys
from auditor.extract.member_extractor import MemberExtractor
began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
notes = []
for piece in MemberExtractor().extract(sys.argv[1], open(sys.argv[1], "rb").read(), lambda *note: notes.append(note)):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began, len(notes))
"""


def test_memory_outside_of_python_stays_small_too(tmp_path: Path, seven_large: bytes) -> None:
    path = tmp_path / "a.7z"
    path.write_bytes(seven_large)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True)
    kibibytes, notes = map(int, done.stdout.split())
    assert kibibytes < 250 * 1024 and notes == 1
    assert opened("a.7z", seven_large).notes == (
        ("a.7z", f"more than {64 * MIB} bytes in a 7z archive; the rest was left out (limit member-bytes)"),
    )


@pytest.mark.parametrize("name", ["app.jar", "app.pex", "app.zip"])
def test_a_broken_zip_behind_a_program_is_reported(name: str) -> None:
    program = bytearray(b"#!/bin/sh\nexit\n" * 5 + zipped({"a.env": b"TOKEN=x\n" * 50, "b.env": b"x"}))
    program[program.rfind(b"PK\x01\x02") + 2] = 99  # the signature of the second entry
    found = opened(name, bytes(program))
    assert "is a broken zip" in found.notes[0][1]
