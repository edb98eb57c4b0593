"""Layers: bombs, cut streams, odd entries, links that lead astray, whiteouts of nothing, a million files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from functools import partial

from tests.hostile.case import DEVICES, END, Case, base256, entry, header, image_of, made, pax, special
from tests.images import (
    Built,
    file,
    folder,
    gzipped,
    hardlink,
    image,
    layer,
    symlink,
    token,
    whiteout,
    zstd,
)

GIB = 1 << 30
_GOOD = layer({"a.txt": "hello\n" * 200})
_TOKEN = token(7)
_WINDOW = 4 << 20


def stored(data: bytes, **more: object) -> Callable[[], bytes]:
    """An archive whose layer has these bytes as stored; its diff_id is that of something else."""

    def make() -> bytes:
        built = image(_GOOD)
        name = f"{0:064x}/layer.tar"
        manifest = f'[{{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["{name}"]}}]'
        return layer(file("c.json", built.config_bytes), file(name, data), file("manifest.json", manifest))

    return make


def bomb(squeeze: Callable[[bytes], bytes], size: int) -> Callable[[], bytes]:
    """A layer with a file of zeros, as one stream of repeated members."""
    return lambda: stored(squeeze(header(b"zeros", base256(size))) + squeeze(bytes(64 << 20)) * (size >> 26))()  # noqa: PLW0108 - not made before


def million() -> bytes:
    """A million empty files: headers that differ in six digits and the checksum."""
    block = header(b"files/000000000")
    total = sum(block[:148]) + sum(block[156:]) + 8 * 32
    engine = zlib.compressobj(1, wbits=31)
    out = []
    for thousand in range(1000):
        part = bytearray(block * 1000)
        for one in range(1000):
            digits = b"%03d/%05d" % (thousand, one)
            at = one * 512
            part[at + 6 : at + 15] = digits
            part[at + 148 : at + 156] = b"%06o\0 " % (total + sum(digits) - 9 * 48)
        out.append(engine.compress(bytes(part)))
    return b"".join((*out, engine.compress(END), engine.flush()))


def hidden_by_a_zero_block() -> bytes:
    """A lone zero block where a window of the reader ends, and behind it a secret."""
    start = entry(b"filler", bytes(_WINDOW - 1024))
    return start + bytes(512) + entry(b"secret.txt", _TOKEN.encode()) + END


def many_secrets() -> bytes:
    lines = "\n".join(token(number) for number in range(3000))
    return layer({"tokens.txt": lines})


def files_of_secrets() -> bytes:
    lines = "\n".join(token(number) for number in range(600))
    return layer({f"{number}.txt": f"{number}\n{lines}" for number in range(40)})


def sparse(**records: str) -> bytes:
    body = b"1\n0\n5\n" + bytes(506) + b"hello"
    return layer(file("s", body, pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", **records}))


def with_types(*kinds: bytes) -> bytes:
    return b"".join(entry(b"t%d" % at, b"hello", kind=kind) for at, kind in enumerate(kinds)) + END


def nested_layers() -> bytes:
    data = layer({"secret.txt": _TOKEN})
    for level in range(10):
        data = layer({f"layer{level}.tar": data})
    return data


def many_headers() -> bytes:
    return b"".join(header(b"same") for _ in range(50_000)) + END


_PLANTED = Built((), {})
_UP = layer(
    *(file(path, f"{_TOKEN}\n") for path in ("../../../tmp/up", "/tmp/absolute", "a/../../up", "./././b", ".."))
)
_LINKS = layer(
    symlink("self", "self"), symlink("a", "b"), symlink("b", "a"), symlink("up", "../" * 50 + "etc"),
    symlink("proc", "/proc/self/fd/0"), file("up/passwd", _TOKEN), file("self/x", "x"), symlink("empty", ""),
)  # fmt: skip
_HARD = layer(
    hardlink("self", "self"), hardlink("a", "b"), hardlink("b", "a"), hardlink("nothing", "no/such"),
    hardlink("out", "../../etc/passwd"), folder("d"), hardlink("d2", "d"), file("f", _TOKEN), hardlink("g", "f"),
)  # fmt: skip
_WHITEOUTS = layer(
    file(".wh."), file("a/.wh."), file(".wh.."), file(".wh..."), file("a/.wh.."), file("a/.wh..."),
    file(".wh..wh..opq"),
    file(".wh..wh.plnk/1"), file("b/.wh.c/d"), whiteout("no/such"), symlink(".wh.link", "x"), folder(".wh.folder"),
    file(".wh..wh..wh..opq"), file("x/.wh..wh..opq/y"), file(".wh." + "n" * 300),
)  # fmt: skip

CASES = (
    Case("an empty layer", image_of(b""), 0),
    Case("a layer of zeros", image_of(bytes(5 << 20)), 0),
    Case("a layer that is a text", image_of(b"no tar at all\n" * 99), 0),
    Case("a layer of another digest", made(stored(layer({"b": b"x"}))), 2, "diff_id is"),
    Case("a layer of gzip that is cut", made(stored(gzipped(_GOOD)[:-20])), 2, "gzip data is broken"),
    Case("a layer of gzip with a wrong checksum", made(stored(gzipped(_GOOD)[:-8] + b"12345678")), 2, "broken"),
    Case("a layer of gzip with noise inside", made(stored(gzipped(_GOOD)[:30] + b"\xff" * 90)), 2, "broken"),
    Case("a layer of gzip with noise behind it", made(stored(gzipped(_GOOD) + b"noise")), 2, ""),
    Case("a layer of 5,000 gzip members", made(stored(b"".join(
        gzipped(_GOOD[at : at + 1]) for at in range(5000)) + gzipped(_GOOD[5000:]))), 0),
    Case("a layer of zstd that is cut", made(stored(zstd(_GOOD)[:-5])), 2, ""),
    Case("a layer of zstd of skippable frames alone", made(stored(b"\x50\x2a\x4d\x18\4\0\0\0aaaa" * 9)), 2, "diff_id"),
    Case("a layer of zstd that skips 4 GB", made(stored(b"\x50\x2a\x4d\x18\xff\xff\xff\xffaaaa")), 2, ""),
    Case("a layer of xz", made(stored(lzma.compress(_GOOD))), 0),
    Case("a layer of bzip2 that is cut", made(stored(bz2.compress(_GOOD)[:-9])), 2, ""),
    Case("a bomb of gzip in a layer", made(bomb(partial(gzip.compress, mtime=0), 6 * GIB)), 2, "grows beyond", 250),
    Case("a bomb of zstd in a layer", made(bomb(zstd, 3 * GIB)), 2, "grows beyond", 250),
    Case("a negative size in a layer", image_of(header(b"a", base256(-1)) + END), 2, "no valid header"),
    Case("a size of 2^62 in a layer", image_of(header(b"a", base256(1 << 62)) + END), 2, "no valid header"),
    Case("a size of 2^63 in a layer", image_of(header(b"a", base256(1 << 63)) + END), 2, "tar"),
    Case("a size of 2^90 in a layer", image_of(header(b"a", base256(1 << 90)) + END), 2, "tar"),
    Case("a size of 10^40 in pax in a layer", image_of(pax({b"size": b"9" * 40}) + header(b"a") + END), 2, "tar"),
    Case("sizes that add up beyond 2^63", image_of(
        header(b"a", base256((1 << 63) - 1024)) + header(b"b", base256((1 << 63) - 1024))), 2, "tar"),
    Case("a size that is signed", image_of(header(b"a", b"-0000001") + END), 2, "no valid header"),
    Case("a pax record of no length", image_of(entry(b"x", b"=a\n", kind=b"x") + _GOOD), 2, "no valid header"),
    Case("a pax record longer than it is", image_of(entry(b"x", b"99 a=b\n", kind=b"x") + _GOOD), 2, "no valid header"),
    Case("100,000 pax records", image_of(pax({b"k%d" % n: b"v" for n in range(70_000)}) + _GOOD), 0),
    Case("pax times and owners of nonsense", image_of(
        pax({b"mtime": b"nan", b"uid": b"x", b"gid": b"9" * 30}) + _GOOD), 0),
    Case("long names one after another", image_of(entry(b"L", b"n" * 4000, kind=b"L") * 3000 + _GOOD), 2, "no end"),
    Case("a path of 1,000 levels", image_of(layer({"a/" * 1000 + "f": _TOKEN})), 1),
    Case("a path of 3,000 levels", image_of(layer({"a/" * 3000 + "f": _TOKEN})), 2, "(limit path-"),
    Case("a million files", made(lambda: stored_with_diff_id(million())), 0, "", 400),
    Case("50,000 files of one name", image_of(many_headers()), 0, "", 250),
    Case("a lone zero block where a window ends", image_of(hidden_by_a_zero_block()), 1),
    Case("an entry behind the end", image_of(_GOOD + entry(b"hidden", _TOKEN.encode())), 0),
    Case("devices, pipes", image_of(layer(*DEVICES)), 0),
    Case("entries of unknown types", image_of(with_types(b"Z", b"M", b"V", b"D", b"N", b"\xff", b"7", b"\0")), 0),
    Case("a special entry with a body", image_of(layer(special("a", tarfile.CHRTYPE)) + _GOOD), 0),
    Case("sparse files of impossible size", image_of(sparse(**{"GNU.sparse.realsize": str(1 << 62)})), 0),
    Case("a sparse map without end", image_of(layer(file("s", b"9" * 600, pax={"GNU.sparse.major": "1"}))), 0),
    Case("paths that lead upward", image_of(_UP), 1),
    Case("symbolic links that go round", image_of(_LINKS), 1),
    Case("hard links that go round", image_of(_HARD), 1),
    Case("whiteouts of nothing, of . and of ..", image_of(_GOOD, _WHITEOUTS, layer({"a.txt": _TOKEN})), 1),
    Case("a layer of whiteouts alone", image_of(_WHITEOUTS), 0),
    Case("layers in layers", image_of(nested_layers()), 1, "is nested in more than 5 archives"),
    Case("3,000 secrets in a file", image_of(many_secrets()), 1, "(limit findings-file)", 250),
    Case("24,000 secrets in an image", image_of(files_of_secrets()), 1, "(limit findings-layer)", 400),
    Case("a folder that becomes a file and back", image_of(
        layer({"d/f": _TOKEN}), layer({"d": "x"}), layer({"d/f": "y"}), layer(whiteout("d"))), 1),
)  # fmt: skip


def stored_with_diff_id(data: bytes) -> bytes:
    """An archive whose layer is gzip, with the digest of what it unpacks to."""
    import hashlib

    config = {"rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest()]}}
    import json

    manifest = '[{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]'
    return layer(file("c.json", json.dumps(config)), file("layer.tar", data), file("manifest.json", manifest))
