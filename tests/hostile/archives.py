"""Archives that are none, are cut, lie about their size, link to where nothing is, or explode."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import zstandard

from tests.hostile.case import END, Case, archive, base256, entry, header, image_of, made, pax
from tests.images import file, folder, gzipped, hardlink, image, layer, symlink, zstd

GIB = 1 << 30
_GOOD = layer({"a.txt": "hello\n" * 200})


def saved_bytes(*, manifest: bytes | None = None, extra: tuple[object, ...] = ()) -> bytes:
    """An image of one layer as `docker save` wrote it, with another manifest.json, or more members."""
    built = image(_GOOD)
    listed = [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]
    items = [file("config.json", built.config_bytes), file("layer.tar", _GOOD), *extra]
    if manifest != b"":
        items.append(file("manifest.json", manifest or json.dumps(listed)))
    return layer(*items)  # type: ignore[arg-type]


def with_layers(*names: str) -> bytes:
    return json.dumps([{"Config": "config.json", "RepoTags": ["a:1"], "Layers": list(names)}]).encode()


def linked(*items: object) -> bytes:
    """An archive whose layer is one of these links."""
    return saved_bytes(manifest=with_layers("other.tar"), extra=items)


SAVED = saved_bytes()
_CUT = SAVED[: SAVED.find(b"hello") + 100]


def _wrong_checksum() -> bytes:
    data = bytearray(SAVED)
    data[512 * 4 + 3] ^= 1
    at = data.find(b"layer.tar")
    data[at] ^= 1
    return bytes(data)


def _zeros(squeeze: Callable[[Iterator[bytes]], bytes], size: int) -> bytes:
    """An archive with a member of zeros that is compressed as a whole."""
    piece = bytes(1 << 20)

    def pieces() -> Iterator[bytes]:
        yield header(b"layer.tar", base256(size))
        for _ in range(size >> 20):
            yield piece

    return squeeze(pieces())


def _streamed(make: Callable[[], object], pieces: Iterator[bytes]) -> bytes:
    engine, out = make(), io.BytesIO()
    for piece in pieces:
        out.write(engine.compress(piece))  # type: ignore[attr-defined]
    out.write(engine.flush())  # type: ignore[attr-defined]
    return out.getvalue()


def _repeated_gzip(pieces: Iterator[bytes]) -> bytes:
    """Zeros compressed once, and the member repeated: a bomb is cheap to make."""
    first, piece = next(pieces), gzip.compress(bytes(64 << 20), 9, mtime=0)
    return gzipped(first) + piece * (sum(map(len, pieces)) >> 26)


def _repeated(squeeze: Callable[[bytes], bytes], pieces: Iterator[bytes]) -> bytes:
    first, piece = next(pieces), squeeze(bytes(64 << 20))
    return squeeze(first) + piece * (sum(map(len, pieces)) >> 26)


def _many_members() -> bytes:
    head = b"".join(header(b"m%07d" % number) for number in range(2000))
    engine = zlib.compressobj(1, wbits=31)
    out = b"".join(engine.compress(head.replace(b"m0", b"m%d" % (turn % 10))) for turn in range(1))
    for turn in range(101):
        out += engine.compress(b"".join(header(b"%d/%d" % (turn, number)) for number in range(2000)))
    return out + engine.flush()


def _many_documents() -> bytes:
    document = b"{" + b" " * (20 << 20) + b"}"
    return gzip.compress(b"".join(entry(b"%d.json" % number, document) for number in range(8)), 1, mtime=0)


def _nested_gzip() -> bytes:
    data = b""
    for _ in range(60):
        data = gzipped(data)
    return data


def _xz_with_a_large_dictionary() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "preset": 0}]
    # The dictionary's size is one byte of the block header; the encoder never needs it.
    small = lzma.compress(SAVED, lzma.FORMAT_XZ, filters=[{**filters[0], "dict_size": 4096}])
    block = bytearray(small)
    at = block.index(b"\x21\x01", 12) + 2
    block[at] = 36  # 1 GiB. xz-file-format 5.3.1
    size = (block[12] + 1) * 4
    block[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(bytes(block[12 : 12 + size - 4])))
    return bytes(block)


def _wide_zstd() -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    return bytes(zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(SAVED)) + zstd(SAVED)


def _zstd_with_a_wide_window() -> bytes:
    # Frame header descriptor without a content size, then the window: exponent 20, that is 1 GiB. RFC 8878, 3.1.1.1
    return b"\x28\xb5\x2f\xfd\x00" + bytes([20 << 3]) + b"\x01\x00\x00"


CASES = (
    Case("an empty file", archive(b""), 2, "not an image"),
    Case("noise", archive(bytes(range(256)) * 40), 2, "not an image"),
    Case("a text", archive(b"hello\n" * 1000), 2, "not an image"),
    Case("zeros", archive(bytes(10240)), 2, "not an image"),
    Case("half a header", archive(SAVED[:300]), 2, "not an image"),
    Case("a tar without a manifest", archive(layer({"a": b"x"})), 2, "not an image"),
    Case("cut in a member", archive(_CUT), 2, "cut off"),
    Case("cut in a header", archive(SAVED[: SAVED.index(b"layer.tar") + 100]), 2, "ends at byte"),
    Case("a wrong checksum", archive(_wrong_checksum()), 2, "no valid header"),
    Case("a manifest that links to itself", archive(layer(symlink("manifest.json", "manifest.json"))), 2,
        "not an image"),
    Case("a layer that links to itself", archive(linked(symlink("other.tar", "other.tar"))), 2, "lacks other.tar"),
    Case("layers that link in a circle", archive(linked(symlink("other.tar", "b"), symlink("b", "other.tar"))), 2,
        "lacks"),
    Case("a layer that links outside", archive(linked(symlink("other.tar", "/etc/passwd"))), 2, "lacks other.tar"),
    Case("a layer that links upward", archive(linked(symlink("other.tar", "../../../etc/passwd"))), 2, "lacks"),
    Case("a hard link to nothing", archive(linked(hardlink("other.tar", "nothing"))), 2, "lacks other.tar"),
    Case("a layer outside", archive(saved_bytes(manifest=with_layers("/etc/passwd"))), 2, "lacks etc/passwd"),
    Case("a layer upward", archive(saved_bytes(manifest=with_layers("../../etc/passwd"))), 2, "lacks etc/passwd"),
    Case("a manifest that is a folder", archive(layer(folder("manifest.json"))), 2, "not an image"),
    Case("200,001 members", made(_many_members), 2, "(limit image-members)", 250),
    Case("documents without end", made(_many_documents), 2, "(limit json-total)", 350),
    Case("gzip that is cut", archive(gzipped(SAVED)[:-50]), 2, "gzip data is broken"),
    Case("gzip with a wrong checksum", archive(gzipped(SAVED)[:-8] + b"wrong!!!"), 2, "gzip data is broken"),
    Case("gzip of gzip of gzip", archive(_nested_gzip()), 2, "not an image"),
    Case("zstd that is cut", archive(zstd(SAVED)[:-9]), 2, ""),
    Case("zstd with a window of 1 GiB", archive(_zstd_with_a_wide_window()), 2, "zstd data is broken"),
    Case("xz that is cut", archive(lzma.compress(SAVED)[:-30]), 2, ""),
    Case("xz with a dictionary of 1 GiB", archive(_xz_with_a_large_dictionary()), 2, "xz data is broken"),
    Case("bzip2 that is cut", archive(bz2.compress(SAVED)[:-30]), 2, ""),
    Case("a bomb of gzip", made(partial(_zeros, _repeated_gzip, 6 * GIB)), 2, "grows beyond"),
    Case("a bomb of zstd", made(partial(_zeros, partial(_repeated, zstd), 3 * GIB)), 2, "grows beyond"),
    Case("a bomb of xz", made(partial(_zeros, partial(_repeated, lzma.compress), 3 * GIB)), 2, "grows beyond", 250),
    Case("a bomb of bzip2", made(partial(_zeros, partial(_repeated, bz2.compress), 3 * GIB)), 2, "grows beyond"),
    Case("a negative size", archive(header(b"manifest.json", base256(-512)) + SAVED), 2, "no valid header"),
    Case("a size of 8 GiB", archive(header(b"manifest.json", b"77777777777\0") + SAVED), 2, "cut off"),
    Case("a size of 2^80", archive(header(b"manifest.json", base256(1 << 80)) + SAVED), 2, ""),
    Case("a size that is no number", archive(header(b"manifest.json", b"1x\0") + SAVED), 2, "no valid header"),
    Case("a size of 10^30 in pax", archive(pax({b"size": b"9" * 30}) + SAVED), 2, ""),
    Case("a negative size in pax", archive(pax({b"size": b"-1024"}) + SAVED), 2, "no valid header"),
    Case("extension headers without end", archive(pax({b"a": b"b" * 900_000}) * 6 + SAVED), 2,
        "(limit headers-bytes)"),
    Case("an extension header of 2 MB", archive(pax({b"a": b"b" * 2_000_000}) + SAVED), 2, "(limit header-bytes)"),
    Case("an extension header that is none", archive(entry(b"x", b"no records", kind=b"x") + SAVED), 2, "no valid"),
    Case("a path of 5,000 characters", archive(pax({b"path": b"n" * 5000}) + SAVED), 2, "(limit path-length)"),
    Case("noise behind the end", archive(SAVED + END + b"\xff" * 5000), 0),
    Case("a layer cut short", image_of(_GOOD[:700]), 2, "ends at byte"),
)  # fmt: skip
