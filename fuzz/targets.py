"""What is fuzzed: functions that take any bytes and may raise nothing but what they are caught with here.

Each asks for more than "no crash": a tar is walked whole and in pieces, and both must tell the same.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from auditor.codec.sparse import expanded, real_size
from auditor.codec.tar import Header, Walker
from auditor.config import load_settings
from auditor.detect.rules import read_file
from auditor.errors import ConfigError, Damaged, DockerfileError, ImageError, RuleError
from auditor.images import manifest
from auditor.images.archive import layout_roots, sha256
from auditor.images.manifest import Descriptor, Origin
from auditor.images.source import Passed
from auditor.unpack import Limits, Unpacker

_LIMITS = Limits(member_bytes=1 << 20, total_bytes=4 << 20, time_s=5)
_MAX_EXPANDED = 64
_ORIGIN = Origin("fuzzed", "oci", None)


def tar(data: bytes) -> None:
    """Walk the headers of a tar, at once and in pieces, and read each field and each sparse file."""
    headers, error = _walked(data, len(data) or 1)
    for piece in (512, 700):
        assert _walked(data, piece) == (headers, error), f"in pieces of {piece} it reads otherwise"
    for header in headers:
        assert not header.path.startswith("/") and ".." not in header.path.split("/"), header.path
        _fields(header, data)


def _walked(data: bytes, piece: int) -> tuple[list[Header], bool]:
    walker, found, at = Walker(), list[Header](), 0
    try:
        while at < len(data) and not walker.ended:
            at = max(at, walker.position if not walker.waiting else at)
            block = data[at : at + piece]
            found += walker.feed(memoryview(block), at)
            at += len(block)
        walker.finish(len(data))
    except Damaged:
        return found, True
    return found, False


def _fields(header: Header, data: bytes) -> None:
    try:
        _ = header.mode, header.uid, header.gid, header.mtime, header.device, header.xattrs
    except ValueError:  # what asks for these catches it: rebuild/compare.py
        return
    if header.sparse:
        body = data[header.offset : header.offset + header.size]
        try:
            if real_size(header) >= 0:
                list(islice(expanded(header, [body], header.extension), _MAX_EXPANDED))
        except (Damaged, ValueError):
            pass


class _Lenient:
    """A manifest.Store in which every digest leads to one of the documents that were fuzzed."""

    def __init__(self, documents: list[bytes]) -> None:
        self._documents = documents

    def document(self, descriptor: Descriptor) -> bytes:
        """Return some document."""
        return self._documents[int(descriptor.digest.hex[:4], 16) % len(self._documents)]

    def content(self, descriptor: Descriptor) -> Passed:
        """Return a layer that was read."""
        return Passed(descriptor.digest)


def manifests(data: bytes) -> None:
    """Follow an index to manifests and configs, separated by zero bytes, whatever they say."""
    documents = data.split(b"\0")
    try:
        manifest.parse_config(documents[-1], "config")
    except ImageError:
        pass
    try:
        roots = layout_roots(documents[0], "fuzzed", None)
        manifest.images(_Lenient(documents), roots or [Descriptor("", sha256(data), 1, {}, None)], _ORIGIN)
    except ImageError:
        pass


def pack(data: bytes) -> None:
    """Read a git pack, and look each object up again."""
    _unpacked("a.pack", b"PACK\0\0\0\2" + data)


def archive(data: bytes) -> None:
    """Open anything that may be packed; the first byte chooses a name."""
    names = ("a.zip", "a.tar", "a.pyc", "a.gz", "r/.git/objects/ab/" + "c" * 38, "a.txt")
    if data:
        _unpacked(names[data[0] % len(names)], data[1:])
        list(Unpacker(_LIMITS).stretches(data[1:], _ignore))


def _unpacked(path: str, data: bytes) -> None:
    unpacker, size = Unpacker(_LIMITS), 0
    members = []
    for piece in unpacker.unpack(path, data, _ignore):
        size += len(piece.data)
        if piece.member:
            members.append(piece.member)
    assert size <= 2 * _LIMITS.total_bytes, f"{size} bytes came out"
    for member in members[:3]:
        unpacker.member_of(path, data, member)


def rules(data: bytes) -> None:
    """Parse a file of rules; a pattern that was taken must compile."""
    with _Written(data, "rules.yaml") as path:
        try:
            found = read_file(path)
        except RuleError:
            return
    for rule in found:
        if not isinstance(rule, RuleError):
            re.compile(rule.pattern.encode())


def config(data: bytes) -> None:
    """Parse a config file, and the same bytes as a baseline."""
    from auditor.baseline import load_baseline

    with _Written(data, ".image-audit.yaml") as path:
        for parse in (load_settings, load_baseline):
            try:
                parse(path)
            except ConfigError:
                pass


def dockerfile(data: bytes) -> None:
    """Parse a Dockerfile."""
    from auditor.dockerfile.parse import parse

    try:
        parse(data.decode("utf-8", "surrogateescape"))
    except DockerfileError:
        pass


class _Written:
    """Bytes as a file in memory, for parsers that take a path."""

    _folder = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())

    def __init__(self, data: bytes, name: str) -> None:
        self._path = self._folder / f"image-audit-fuzz-{os.getpid()}-{name}"
        self._path.write_bytes(data)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink()


def _ignore(where: str, reason: str) -> None:
    pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    "tar": tar,
    "manifest": manifests,
    "pack": pack,
    "archive": archive,
    "rule": rules,
    "config": config,
    "dockerfile": dockerfile,
}
