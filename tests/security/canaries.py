"""Canaries: secrets and credentials made for one run, and whatever a program prints, writes or passes on of them."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import threading
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
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


@dataclass
class Seen:
    """What a process and its children were, by place: their command lines and the children's environment."""

    texts: dict[str, bytes] = field(default_factory=dict)

    def look(self, process: int) -> None:
        """Take a look at a process and all that it started."""
        for number in _family(process):
            for name in ("cmdline", "environ"):
                if name == "environ" and number == process:
                    continue  # it is what the user gave
                with suppress(OSError):  # it has ended, or nobody may look
                    self.texts[f"/proc/{number}/{name}"] = Path(f"/proc/{number}/{name}").read_bytes()


def _family(process: int) -> Iterator[int]:
    waiting = [process]
    while waiting:
        one = waiting.pop()
        yield one
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                waiting += map(int, task.read_text().split())


@dataclass(frozen=True)
class Done:
    """How a command ended, and what was seen of it."""

    status: int
    out: bytes
    err: bytes
    seen: Mapping[str, bytes]


def watched(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, stdin: bytes = b"", timeout_s: float = 120
) -> Done:
    """Run a command where the umask forbids nothing, and look at its processes all the time."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=folder,
        umask=0,
    ) as process:  # fmt: skip
        seen, over = Seen(), threading.Event()

        def look() -> None:
            while not over.wait(0.02):
                seen.look(process.pid)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        finally:
            over.set()
            looking.join()
    return Done(process.returncode, out, err, seen.texts)


def written(folder: Path, but: frozenset[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the content of each file, of databases that of each value, packed values unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path not in but:
            data = path.read_bytes()
            yield str(path), data
            if data.startswith(b"SQLite format 3\0"):
                yield from ((f"{path}: {where}", value) for where, value in _values(path))


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
