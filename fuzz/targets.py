"""What is fuzzed: functions that take any bytes and may raise nothing but what they are caught with here.

Each asks for more than "no crash": a tar is walked whole and in pieces, and both must tell the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from auditor.codec.descriptors import Descriptor, parse_config
from auditor.codec.hashing import sha256
from auditor.codec.sparse import expanded, real_size
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import Header
from auditor.core.errors import Damaged, ImageError
from auditor.core.limits import DEFAULT, Limits
from auditor.extract.member_extractor import MemberExtractor, PlainMembers
from auditor.images import manifest
from auditor.images.layout_index import read_layout_index
from auditor.images.manifest import Origin
from auditor.images.source import LayerRef
from fuzz import texts

_LIMITS = Limits(member_bytes=1 << 20, unpacked_bytes=4 << 20, file_time=5)
_MAX_EXPANDED = 64
_ORIGIN = Origin("fuzzed", "oci", None, DEFAULT)


def tar(data: bytes) -> None:
    """Walk the headers of a tar, at once and in pieces, and read each field and each sparse file."""
    headers, error = _walked(data, len(data) or 1)
    for piece in (512, 700):
        assert _walked(data, piece) == (headers, error), f"in pieces of {piece} it reads otherwise"
    for header in headers:
        assert not header.path.startswith("/") and ".." not in header.path.split("/"), header.path
        _fields(header, data)


def _walked(data: bytes, piece: int) -> tuple[list[Header], bool]:
    walker, found, at = TarParser(DEFAULT), list[Header](), 0
    try:
        while at < len(data) and not walker.ended:
            at = max(at, walker.position if not walker.is_mid_entry else at)
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
    """A blob store in which every digest leads to one of the documents that were fuzzed."""

    def __init__(self, documents: list[bytes]) -> None:
        self._documents = documents

    def document(self, descriptor: Descriptor) -> bytes:
        """Return some document."""
        return self._documents[int(descriptor.digest.hex[:4], 16) % len(self._documents)]

    def content(self, descriptor: Descriptor) -> LayerRef:
        """Return a layer of a stream."""
        return LayerRef("fuzzed", 0, descriptor.digest)


def manifests(data: bytes) -> None:
    """Follow an index to manifests and configs, separated by zero bytes, whatever they say."""
    documents = data.split(b"\0")
    try:
        parse_config(documents[-1], "config", DEFAULT)
    except ImageError:
        pass
    try:
        roots = read_layout_index(documents[0], "fuzzed", DEFAULT, None).descriptors
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
        list(MemberExtractor(_LIMITS).decode(data[1:], _ignore))


def _unpacked(path: str, data: bytes) -> None:
    extractor, size = MemberExtractor(_LIMITS), 0
    members = []
    for piece in extractor.extract(path, data, _ignore):
        if isinstance(piece, PlainMembers):
            size += sum(map(len, piece.bodies))
            members += piece.names
            continue
        size += len(piece.data)
        if piece.member:
            members.append(piece.member)
    assert size <= 2 * _LIMITS.unpacked_bytes, f"{size} bytes came out"
    for member in members[:3]:
        extractor.member_content(path, data, member)


def _ignore(where: str, reason: str, transient: bool) -> None:
    pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    "tar": tar,
    "manifest": manifests,
    "pack": pack,
    "archive": archive,
    "rule": texts.rules,
    "config": texts.config,
    "baseline": texts.baseline,
    "dockerfile": texts.dockerfile,
    "ignore": texts.ignored,
    "registry": texts.registry,
}
