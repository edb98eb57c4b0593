"""Files in an image that are opened: archives, packages, databases, repositories, encodings, bait for patterns."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import marshal
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from auditor.detect.rules import builtin_rules
from tests.detect.hostile import windows
from tests.extract.build import ar, cpio, deb, rpm_header
from tests.extract.test_archives import seven_zipped, zipped
from tests.extract.test_hostile import name_of, packed, varint
from tests.hostile.case import Build, Case, holding, image_of
from tests.images import gzipped, layer, token, zstd

MIB = 1 << 20
_TOKEN = token(9)
_BAIT = 300


def nested_zip() -> bytes:
    """Sixteen zips in sixteen zips, three times, around ten megabytes of zeros."""
    data = zipped({"zeros": bytes(10 * MIB)})
    for _ in range(3):
        data = zipped({f"{number}.zip": data for number in range(16)})
    return data


def overlapping_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", bytes(8 * MIB))
        made.filelist += [made.filelist[0]] * 2000
    return out.getvalue()


def slipping_zip() -> bytes:
    return zipped({"../../../../tmp/slipped": _TOKEN.encode(), "/tmp/slipped": b"x", "C:\\slipped": b"x", "/": b"x"})


def patched_zip(offset: int, value: bytes) -> bytes:
    """A zip whose directory says something else."""
    data = bytearray(zipped({"a": b"hello" * 99, "b": _TOKEN.encode()}))
    at = data.find(b"PK\x01\x02") + offset
    data[at : at + len(value)] = value
    return bytes(data)


def wide_zip() -> bytes:
    return zipped({str(number): b"x" for number in range(260_000)})


def zeros_in_7z() -> bytes:
    import py7zr

    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as made:
        made.writef(io.BytesIO(bytes(300 * MIB)), "zeros")
    return out.getvalue()


def dictionary_7z() -> bytes:
    """LZMA2 with a dictionary of 4 GiB less a byte, which the decoder must not take."""
    data = bytearray(seven_zipped({"a": b"hello" * 999}))
    at = data.rfind(b"\x21\x21\x01")  # a coder with an identifier of one byte and properties; LZMA2; one byte of them
    if at < 0:
        at = data.rfind(b"\x21\x01") - 1
    data[at + 3] = 40
    end = struct.unpack_from("<QQI", data, 12)
    start = 32 + end[0]
    crc = zlib.crc32(bytes(data[start : start + end[1]]))
    data[28:32] = struct.pack("<I", crc)
    data[8:12] = struct.pack("<I", zlib.crc32(bytes(data[12:32])))
    return bytes(data)


def database(*statements: str) -> bytes:
    with closing(sqlite3.connect(":memory:")) as base:
        for statement in statements:
            base.execute(statement)
        base.commit()
        return bytes(base.serialize())


def poisoned(edit: Callable[[bytearray], None]) -> bytes:
    """A database with pages that lead astray."""
    data = bytearray(
        database(
            "CREATE TABLE secrets (token TEXT)",
            *(f"INSERT INTO secrets VALUES ('{_TOKEN}{'x' * 9000}')" for _ in range(20)),
        )
    )
    edit(data)
    return bytes(data)


def _loop(data: bytearray) -> None:
    for at in range(4096, len(data), 4096):  # each overflow page leads to itself
        data[at : at + 4] = struct.pack(">I", at // 4096 + 1)


def _noise(data: bytearray) -> None:
    data[4096:] = bytes(number * 7 % 256 for number in range(len(data) - 4096))


def _schema(data: bytearray) -> None:
    at = data.find(b"CREATE TABLE secrets")
    data[at : at + 12] = b"CREATE VIEW "


def endless_view() -> bytes:
    return database(
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES ('x')",
        "CREATE VIEW v AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "CREATE TABLE g (a TEXT, b AS (hex(zeroblob(100000000))))",
        "INSERT INTO g VALUES ('xxxxxxxx')",
    )


def delta_circle() -> bytes:
    delta = varint(1) + varint(1) + b"\x01a"
    return packed((7, b"1" * 20, delta, None), (7, b"2" * 20, delta, None), (6, b"\x05", delta, None))


def huge_delta() -> bytes:
    base = b"x" * 60_000
    copies = b"\xb0\x60\xea" * 20_000
    huge = varint(len(base)) + varint(60_000 * 20_000) + copies
    return packed((3, b"", base, None), (7, name_of(base), huge, None))


def doubling_deltas() -> bytes:
    content, objects = b"x" * 1000, [(3, b"", b"x" * 1000, None)]
    for _ in range(16):
        copy = b"\xf0" + len(content).to_bytes(3, "little")
        objects.append((7, name_of(content), varint(len(content)) + varint(2 * len(content)) + copy * 2, None))
        content *= 2
        if len(content) > 8 * MIB:
            break
    return packed(*objects)


def compiled(depth: int) -> bytes:
    """Compiled Python of tuples in tuples."""
    return b"\xa7\r\r\n" + bytes(12) + b")\1" * depth + b"N"


def base64s(levels: int) -> bytes:
    data = _TOKEN.encode() * 3
    for _ in range(levels):
        data = base64.b64encode(data)
    return b"key: " + data


def base64_bomb() -> bytes:
    bomb = base64.b64encode(gzip.compress(bytes(5 * MIB)))
    return b"\n".join(b"a%d: %s" % (n, bomb) for n in range(150))


def quine() -> bytes:
    data = gzipped(b"")
    for _ in range(80):
        data = gzipped(data)
    return data


def bait() -> Build:
    """For every rule the beginnings of its match over and over: a file a rule."""

    def build(folder: Path) -> str:
        files = {f"bait/{rule.id}.txt": b"\n".join(windows(rule.pattern, _BAIT)[:4]) for rule in builtin_rules()}
        return image_of(layer(files))(folder)

    return build


_CASES: tuple[tuple[str, str, Callable[[], bytes] | bytes, str, int], ...] = (
    ("a zip of zips", "a.zip", nested_zip, "left out", 250),
    ("a zip whose entries overlap", "a.zip", overlapping_zip, "grows more than", 250),
    ("a zip that slips", "a.zip", slipping_zip, "", 150),
    ("a zip of 260,000 members", "a.zip", wide_zip, "members", 250),
    ("a zip cut short", "a.zip", zipped({"a": b"x" * 999})[:-30], "is a broken zip", 150),
    ("a zip of an unknown method", "a.zip", patched_zip(10, b"\x63\0"), "method 99", 150),
    ("a zip that is encrypted", "a.zip", patched_zip(8, b"\1\0"), "is encrypted", 150),
    ("a zip that says less than it holds", "a.zip", patched_zip(24, b"\5\0\0\0"), "", 150),
    ("a zip that says 4 GB", "a.zip", patched_zip(24, b"\xff\xff\xff\x7f"), "", 150),
    ("a zip that points outside", "a.zip", patched_zip(42, b"\xff\xff\xff\x7f"), "is broken", 150),
    ("a bomb of gzip in an image", "a.gz", lambda: gzip.compress(bytes(200 * MIB)), "grows more than", 250),
    ("a bomb of xz in an image", "a.xz", lambda: lzma.compress(bytes(200 * MIB), preset=0), "grows more than", 250),
    ("a bomb of bzip2 in an image", "a.bz2", lambda: bz2.compress(bytes(200 * MIB)), "grows more than", 250),
    ("a bomb of zstd in an image", "a.zst", lambda: zstd(bytes(200 * MIB)), "grows more than", 250),
    ("a bomb of tar in gzip", "a.tgz", lambda: gzip.compress(layer({str(n): bytes(9 * MIB) for n in range(120)}), 1),
     "left out", 300),
    ("a quine of gzip", "a.gz", quine, "in more than 5 archives", 150),
    ("a 7z of zeros", "a.7z", zeros_in_7z, "", 350),
    ("a 7z with a dictionary of 4 GB", "a.7z", dictionary_7z, "7z", 300),
    ("a 7z of noise", "a.7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(256)) * 9, "7z", 300),
    ("an rpm of huge headers", "a.rpm", b"\xed\xab\xee\xdb" + bytes(92) + b"\x8e\xad\xe8\x01" + bytes(4) + b"\xff" * 8,
     "rpm", 150),
    ("an rpm of nothing", "a.rpm", rpm_header(b"\xed\xab\xee\xdb" + bytes(92)), "", 150),
    ("a deb of negative size", "a.deb", b"!<arch>\ndebian-binary   0           0     0     100644  -4        `\n",
     "broken ar", 150),
    ("a deb of broken parts", "a.deb", ar({"debian-binary": b"2.0\n", "data.tar.gz": gzipped(b"no tar")}), "", 150),
    ("a deb whose tar slips", "a.deb", deb({"../../tmp/slipped": _TOKEN}), "", 150),
    ("a cpio of huge names", "a.cpio", b"070701" + b"ffffffff" * 13 + b"name", "broken cpio", 150),
    ("a cpio of many files", "a.cpio", lambda: cpio({str(n): b"x" for n in range(251_000)}), "members", 150),
    ("a database whose pages go round", "a.db", lambda: poisoned(_loop), "broken", 150),
    ("a database of noise", "a.db", lambda: poisoned(_noise), "broken", 150),
    ("a database whose table is a view", "a.db", lambda: poisoned(_schema), "", 150),
    ("a database that counts without end", "a.db", endless_view, "", 300),
    ("a database cut short", "a.db", lambda: database("CREATE TABLE t (a)")[:3000], "broken", 150),
    ("a pack whose deltas go round", "a.pack", delta_circle, "have their base in another pack", 150),
    ("a pack with a delta of 1.2 GB", "a.pack", huge_delta, "(limit member-bytes)", 150),
    ("a pack whose deltas double", "a.pack", doubling_deltas, "", 300),
    ("a pack of 4 billion objects", "a.pack", b"PACK\0\0\0\2\xff\xff\xff\xff" + bytes(30), "git objects", 150),
    ("compiled Python 100,000 deep", "a.pyc", lambda: compiled(100_000), "", 150),
    ("compiled Python that refers to itself", "a.pyc", b"\xa7\r\r\n" + bytes(12) + b"\xdb\1\0\0\0r\0\0\0\0", "", 150),
    ("compiled Python of 2 GB", "a.pyc", b"\xa7\r\r\n" + bytes(12) + marshal.dumps(b"x")[:1] + b"\xff\xff\xff\x7f",
        "", 150),
    ("base64 ten deep", "a.yaml", base64s(10), "", 250),
    ("bombs in base64", "a.yaml", base64_bomb, "", 300),
    ("a text of one line", "a.json", lambda: b'{"a":"' + b"A" * (9 * MIB) + b'"}', "", 250),
)  # fmt: skip

_FOUND = (
    "a zip that slips", "a zip of an unknown method", "a zip that is encrypted", "a zip that says less than it holds",
    "a zip that says 4 GB", "a zip that points outside", "a deb whose tar slips",
)  # fmt: skip

CASES = (
    *(Case(name, holding(path, make), int(name in _FOUND), says, memory) for name, path, make, says, memory in _CASES),
    Case("bait for every rule", bait(), -1, "", 300),
)
