"""A row of the table: an input, and what must come of it."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images import Built, Item, image, layer

Build = Callable[[Path], str]
"""Writes an input to an empty folder, and returns the target to audit."""


@dataclass(frozen=True)
class Case:
    """`status` is the exit code: 2 with one line that holds `says`, else `says` stands in a reason of `skipped`.

    `memory_mb` bounds the resident memory of the whole process at its peak. `command` is what is run with the target
    behind it; without one, the target is audited into all reports.
    """

    name: str
    build: Build
    status: int
    says: str = ""
    memory_mb: int = 150
    command: tuple[str, ...] = ()


def archive(data: bytes, name: str = "image.tar") -> Build:
    """A file as it stands."""

    def build(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    return build


def made(make: Callable[[], bytes]) -> Build:
    """A file that is costly to make, so that it is made when it is needed."""
    return lambda folder: archive(make())(folder)  # noqa: PLW0108 - not made before


def image_of(*layers: bytes, squeeze: Callable[[bytes], bytes] | None = None, **more: Any) -> Build:
    """An image as `docker save` wrote it, of layers that may be no tar at all."""
    return saved(image(*layers, **more), squeeze)


def saved(built: Built, squeeze: Callable[[bytes], bytes] | None = None) -> Build:
    def build(folder: Path) -> str:
        return str(built.docker_archive(folder / "image.tar", squeeze=squeeze))

    return build


def holding(path: str, make: Callable[[], bytes] | bytes) -> Build:
    """An image with one file that is not what it seems."""

    def build(folder: Path) -> str:
        data = make() if callable(make) else make
        return image_of(layer({path: data}))(folder)

    return build


def header(
    name: bytes, size: bytes = b"00000000000\0", kind: bytes = b"0", link: bytes = b"", prefix: bytes = b""
) -> bytes:
    """The 512 bytes of a ustar header with a right checksum; `size` is the field as it stands."""
    fields = (
        name.ljust(100, b"\0")[:100], b"0000644\0", b"0000000\0", b"0000000\0", size.ljust(12, b"\0")[:12],
        b"14000000000\0", b" " * 8, kind, link.ljust(100, b"\0")[:100], b"ustar\x0000", bytes(80),
        prefix.ljust(155, b"\0")[:155], bytes(12),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def entry(name: bytes, data: bytes = b"", **more: Any) -> bytes:
    """A header and its body."""
    size = more.pop("size", b"%011o\0" % len(data))
    return header(name, size, **more) + data + bytes(-len(data) % 512)


def pax(records: Mapping[bytes, bytes]) -> bytes:
    """An extended header of records."""
    body = b""
    for key, value in records.items():
        length = len(key) + len(value) + 3
        length += len(str(length + len(str(length))))
        body += b"%d %s=%s\n" % (length, key, value)
    return entry(b"PaxHeaders/x", body, kind=b"x")


def base256(value: int) -> bytes:
    """A size of twelve bytes in the form for numbers that are too large for octal digits, or negative."""
    return (value & ((1 << 96) - 1) | 1 << 95).to_bytes(12, "big")


END = bytes(1024)


def special(path: str, kind: bytes, device: tuple[int, int] = (0, 0)) -> Item:
    return Item(path, type=kind, device=device)


DEVICES = (
    special("dev/mem", tarfile.CHRTYPE, (1, 1)),
    special("dev/huge", tarfile.BLKTYPE, (2097151, 2097151)),
    special("dev/pipe", tarfile.FIFOTYPE),
)
