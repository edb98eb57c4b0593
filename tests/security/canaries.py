"""Canaries: secrets and credentials made for one run, in every form in which a program may let them out."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

USER = "reader"


def forms(canary: str) -> frozenset[bytes]:
    """A canary as it stands, and as programs write it: for JSON, a URL, a header, in hexadecimal digits, reversed."""
    data = canary.encode()
    found = {data, data[::-1], data.hex().encode(), data.hex().upper().encode(), json.dumps(canary)[1:-1].encode()}
    found |= {canary.upper().encode(), canary.lower().encode()}
    found |= {urllib.parse.quote(canary, safe).encode() for safe in ("", "/")}
    found |= {urllib.parse.quote_plus(canary).encode(), repr(canary)[1:-1].encode()}
    for shift in range(3):  # base64 of any text around it: what depends on its neighbours is cut off
        text = base64.b64encode(bytes(shift) + data)
        inner = text[(shift * 8 + 5) // 6 : (shift + len(data)) * 8 // 6]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(found)


def written(folder: Path, but: frozenset[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the content of each file, of databases that of each value, packed values unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path not in but:
            data = path.read_bytes()
            yield str(path), data
            if data.startswith(b"SQLite format 3\0"):
                with suppress(sqlite3.DatabaseError):  # a test has damaged it: it is looked at as it stands
                    yield from [(f"{path}: {where}", value) for where, value in _values(path)]


def _values(path: Path) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode()
                    yield table, data
                    yield from ((f"{table}, unpacked", inner) for inner in _inflated(data))


def _inflated(data: bytes, depth: int = 2) -> Iterator[bytes]:
    """Yield what zlib streams in some bytes hold, and what those hold."""
    at = data.find(b"\x78") if depth else -1
    while at >= 0:
        try:
            inner = zlib.decompressobj().decompress(data[at:])
        except zlib.error:
            inner = b""
        if len(inner) > 8:
            yield inner
            yield from _inflated(inner, depth - 1)
        at = data.find(b"\x78", at + 1)


def leaks(texts: Iterator[tuple[str, bytes]], canaries: Mapping[str, str]) -> list[str]:
    """Say where which canary stands, in any of its forms."""
    wanted = [(name, form) for name, canary in canaries.items() for form in forms(canary)]
    return [f"{name} in {where}" for where, data in texts for name, form in wanted if form in data]


def open_to_others(folder: Path) -> list[str]:
    """Return the files and folders of this program's own folders that others may read."""
    own = [found for name in ("image-audit", "image-audit-*") for found in folder.rglob(name) if found.is_dir()]
    found = [path for top in own for path in (top, *top.rglob("*")) if not path.is_symlink()]
    return [f"{path}: {os.stat(path).st_mode & 0o777:o}" for path in found if os.stat(path).st_mode & 0o077]
