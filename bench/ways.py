"""The ways in which a secret lies in a file: encoded, compressed, packed, compiled, an image within the image."""

from __future__ import annotations

import base64
import bz2
import importlib.util
import io
import json
import lzma
import marshal
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

import py7zr

from tests.extract.build import cpio, deb, rpm
from tests.images import gzipped, image, layer, whiteout, zstd

_NAME = "conf/app.env"


@dataclass(frozen=True, slots=True)
class Way:
    """How a file holds a text, and what a finding must say of the way in.

    `member` is what the finding's member ends in, `decoded` None where the secret can be read without decoding too;
    `counted` says whether lines are still those of the text; `ending` is what the file's name ends in.
    """

    pack: Callable[[bytes], bytes]
    member: str | None = None
    decoded: tuple[str, ...] | None = ()
    counted: bool = True
    ending: str = ""


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_NAME, data)
    return out.getvalue()


def _seven_zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": py7zr.FILTER_ZSTD, "level": 1}]) as archive:
        archive.writestr(data, _NAME)
    return out.getvalue()


def _nested(data: bytes) -> bytes:
    return deb({"./srv/backup.tar.gz": gzipped(layer({"lib/inner.jar": _zipped(data)}))})


def _saved_image(data: bytes) -> bytes:
    built = image(layer({f"srv/{_NAME}": data}), layer(whiteout(f"srv/{_NAME}")))
    return layer(built.oci_files("gzip"))


def _database(data: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
        base.execute("INSERT INTO notes VALUES (7, ?)", (data.decode(),))
        base.commit()
        return base.serialize()


def _compiled_python(data: bytes) -> bytes:
    code = compile(f"SETTINGS = {data.decode()!r}", "settings.py", "exec")
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _compiled_java(data: bytes) -> bytes:
    """A class with one constant: JVM specification, 4.1."""

    def text(value: bytes) -> bytes:
        return struct.pack(">BH", 1, len(value)) + value

    names = (b"Settings", b"java/lang/Object", b"TOKENS", b"Ljava/lang/String;", b"ConstantValue", data)
    pool = b"".join(map(text, names)) + struct.pack(">BHBHBH", 7, 1, 7, 2, 8, 6)
    fields = struct.pack(">HHHHHHIH", 1, 0x19, 3, 4, 1, 5, 2, 9)
    return struct.pack(">IHHH", 0xCAFEBABE, 0, 52, 10) + pool + struct.pack(">HHHH", 0x21, 7, 8, 0) + fields + bytes(4)


PLAIN = Way(lambda data: data)
WAYS = {
    "plain": PLAIN,
    "utf-16, little-endian": Way(lambda data: ("\ufeff" + data.decode()).encode("utf-16-le"), None, ("utf-16le",)),
    "utf-16, big-endian": Way(lambda data: ("\ufeff" + data.decode()).encode("utf-16-be"), None, ("utf-16be",)),
    "base64": Way(lambda data: b"data: " + base64.b64encode(data) + b"\n", None, ("base64",), counted=False),
    "hex": Way(lambda data: b"data: 0x" + data.hex().encode() + b"\n", None, ("hex",), counted=False),
    "percent": Way(lambda data: b"body=" + quote(data, safe="").encode() + b"\n", None, None, counted=False),
    "json escapes": Way(lambda data: json.dumps({"file": data.decode()}).encode(), None, None, counted=False),
    "gzip": Way(gzipped, None, ("gzip",), ending=".gz"),
    "bzip2": Way(bz2.compress, None, ("bzip2",), ending=".bz2"),
    # These keep as it is what can't be made smaller, so a token may stand there in clear.
    "xz": Way(lzma.compress, None, None, counted=False, ending=".xz"),
    "zstd": Way(zstd, None, None, counted=False, ending=".zst"),
    "zip": Way(_zipped, _NAME, ending=".zip"),
    "tar.gz": Way(lambda data: gzipped(layer({_NAME: data})), _NAME, ("gzip",), ending=".tar.gz"),
    "7z": Way(_seven_zipped, _NAME, ending=".7z"),
    "deb": Way(lambda data: deb({f"./{_NAME}": data}), _NAME, ("gzip",), ending=".deb"),
    "rpm": Way(lambda data: rpm({f"./{_NAME}": data}), _NAME, None, ending=".rpm"),
    "cpio": Way(lambda data: cpio({_NAME: data}), _NAME, ending=".cpio"),
    "archives in archives": Way(_nested, f"lib/inner.jar!{_NAME}", ("gzip", "gzip"), ending=".deb"),
    "image in the image": Way(_saved_image, f"!srv/{_NAME}", ("gzip",), ending=".tar"),
    "sqlite": Way(_database, "notes/7/body", counted=False, ending=".db"),
    "pyc": Way(_compiled_python, None, None, counted=False, ending=".pyc"),
    "class": Way(_compiled_java, None, None, counted=False, ending=".class"),
    "git object": PLAIN,
    "git pack": PLAIN,
}
"""By name. What lies in a repository is made by git: bench/repository.py."""

REPOSITORIES = {"git object": "srv/loose", "git pack": "srv/packed"}
"""The folders of the repositories."""
