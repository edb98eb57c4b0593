"""New tar headers: a file under another path, a hard link with another target, a folder, a whiteout.

All other entries of a rewritten layer are copied unchanged. Sources: POSIX pax, GNU tar manual "Tar Internals".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace

from auditor.codec.tar_headers import BLOCK, Header, is_extended, number, padded
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind

_NUMBERS = ("uid", "gid", "mtime")
_TIMES = ("mtime", "atime", "ctime")
_OWN = ("uid", "gid", "uname", "gname", *_TIMES)
_XATTRS = ("SCHILY.xattr.", "LIBARCHIVE.xattr.")
_CAPABILITY = "SCHILY.xattr.security.capability"
_NAMES = ("path", "linkpath")
_SPARSE_PAIRS = ("GNU.sparse.offset", "GNU.sparse.numbytes")
_NS = 1_000_000_000


def packed_metadata(header: Header) -> bytes:
    """Encode mode, owner, time, device and extended attributes as bytes; equal bytes mean equal metadata."""
    block = header.block
    fixed = block[100:124] + block[136:148]
    if header.kind in (EntryKind.CHAR, EntryKind.BLOCK):
        fixed += _record("device", " ".join(map(str, header.device)))
    if header.pax:
        keys = sorted(k for k in header.pax if (k in _NUMBERS and header.pax[k]) or k.startswith(_XATTRS))
        fixed += b"".join(_record(key, header.pax[key]) for key in keys)
    return fixed


@dataclass(frozen=True, slots=True)
class EntryMetadata:
    """Permission bits, owner and group, nanoseconds since 1970, device, extended attributes."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict)


def unpacked_metadata(raw: bytes) -> EntryMetadata:
    """Decode the result of `packed_metadata`."""
    numbers = [number(raw[a:b]) for a, b in ((0, 8), (8, 16), (16, 24), (24, 36))]
    pax = dict(_records(raw[36:]))
    major, minor = pax.get("device", "0 0").split()
    return EntryMetadata(
        numbers[0] & 0o7777,
        int(pax.get("uid", numbers[1])),
        int(pax.get("gid", numbers[2])),
        _nanoseconds(pax["mtime"]) if "mtime" in pax else numbers[3] * _NS,
        (int(major), int(minor)),
        {key: value for key, value in pax.items() if key.startswith(_XATTRS)},
    )


def combined_metadata(metadata: Sequence[EntryMetadata], *, symlink: bool = False) -> EntryMetadata:
    """Return the metadata of a hard linked file after an engine applied the headers of all its names, in order.

    Owner, mode and time are those of the last name; a symbolic link keeps its first mode and time. Extended attributes
    accumulate, but each change of owner removes the capabilities.
    """
    xattrs: dict[str, str] = {}
    for meta in metadata:
        xattrs.pop(_CAPABILITY, None)
        xattrs |= meta.xattrs
    own = metadata[0] if symlink else metadata[-1]
    return replace(metadata[-1], mode=own.mode, mtime_ns=own.mtime_ns, device=metadata[0].device, xattrs=xattrs)


def _nanoseconds(text: str) -> int:
    whole, _, fraction = text.partition(".")
    value = abs(int(whole or 0)) * _NS + int((fraction + "0" * 9)[:9])
    return -value if whole.startswith("-") else value


def _records(body: bytes) -> Iterator[tuple[str, str]]:
    while body:
        length = int(body.partition(b" ")[0])
        key, _, value = body[:length].partition(b" ")[2][:-1].partition(b"=")
        yield key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        body = body[length:]


def own_headers(group: bytes) -> bytes:
    """Return an entry's headers without zero blocks, global pax headers, and extensions before a global header.

    Engines do not apply those to the entry.
    """
    if len(group) == BLOCK:
        return group
    kept, at = b"", 0
    while at < len(group):
        block = group[at : at + BLOCK]
        end = at + BLOCK
        if block[156] in b"gxLK":
            end += padded(number(block[124:136]))
        elif block.strip(b"\0"):
            return kept + group[at:]  # the entry's header, and the extensions of a sparse one
        if block[156] in b"xLK":
            kept += group[at:end]
        elif block[156] == ord("g"):
            kept = b""
        at = end
    return kept


def renamed_headers(content: Header, path: str, metadata: Sequence[Header]) -> bytes:
    """Return the headers of a file under another path, with the combined metadata of `metadata`."""
    pax = {k: v for k, v in content.pax.items() if k not in (*_NAMES, *_OWN, *_SPARSE_PAIRS)}
    pax = {k: v for k, v in pax.items() if not k.startswith(_XATTRS)} | _pax_metadata(metadata, content)
    if "GNU.sparse.name" in pax:
        pax["GNU.sparse.name"] = path
    return _encoded(_with_metadata(content, metadata), path, content.link, pax) + content.extension


def hard_link_headers(own: Header, path: str, target: str, metadata: Sequence[Header]) -> bytes:
    """Return the headers of a hard link with another path and target, and the combined metadata of `metadata`."""
    pax = {k: v for k, v in own.pax.items() if k not in (*_NAMES, *_OWN) and not k.startswith(_XATTRS)}
    return _encoded(_with_metadata(own, metadata), path, target, pax | _pax_metadata(metadata, metadata[0]))


def _with_metadata(header: Header, metadata: Sequence[Header]) -> bytearray:
    block, last = bytearray(header.block), metadata[-1].block
    own = metadata[0].block if metadata[0].kind is EntryKind.SYMLINK else last
    block[100:108], block[108:124], block[136:148] = own[100:108], last[108:124], own[136:148]
    return block


def _pax_metadata(metadata: Sequence[Header], content: Header) -> dict[str, str]:
    """Return the combined pax records of owner, times and extended attributes of a file's headers."""
    pax: dict[str, str] = {}
    for meta in metadata:
        pax.pop(_CAPABILITY, None)
        pax |= {k: v for k, v in meta.pax.items() if k.startswith(_XATTRS)}
    timed = metadata[0] if content.kind is EntryKind.SYMLINK else metadata[-1]
    pax |= {k: v for k, v in timed.pax.items() if k in _TIMES}
    return pax | {k: v for k, v in metadata[-1].pax.items() if k in _OWN and k not in _TIMES}


def new_headers(path: str, kind: bytes, mode: int) -> bytes:
    """Return the headers of an empty folder or whiteout: owner root, time 1970."""
    block = bytearray(BLOCK)
    block[100:148] = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, 0, 0)
    block[156:157] = kind
    return _encoded(block, path, "", {})


def _encoded(block: bytearray, path: str, link: str, pax: Mapping[str, str]) -> bytes:
    """Set the names in a header block, or in an extension where they are too long, and the checksum."""
    name, target = _bytes(path + "/" if block[156:157] == b"5" and path else path or "./"), _bytes(link)
    gnu_sparse = block[156:157] == b"S"
    records, before = dict(pax), b""
    if gnu_sparse:
        # The old GNU format has its map at the place of ustar's prefix; long names need a header of their own.
        before = _long_name(name) if len(name) > 100 else b""
    else:
        if not is_extended(bytes(block)):  # the v7 format has no fields here
            block[265:345] = bytes(80)
        block[257:265] = b"ustar\x0000"
        block[345:512] = bytes(167)
        for key, value in (("path", name), ("linkpath", target)):
            if len(value) > 100 or not value.isascii():
                records[key] = value.decode("utf-8", "surrogateescape")
    block[0:100] = name[:100].ljust(100, b"\0")
    block[157:257] = target[:100].ljust(100, b"\0")
    if records:
        before += _extension(b"x", b"PaxHeaders.0/entry", b"".join(_record(k, records[k]) for k in sorted(records)))
    return before + _with_checksum(block)


def _long_name(name: bytes) -> bytes:
    return _extension(b"L", b"././@LongLink", name + b"\0")


def _extension(kind: bytes, name: bytes, body: bytes) -> bytes:
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:148] = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0o644, 0, 0, len(body), 0)
    block[156:157] = kind
    block[257:265] = b"ustar  \0" if kind == b"L" else b"ustar\x0000"
    return _with_checksum(block) + body.ljust(padded(len(body)), b"\0")


def _with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _record(key: str, value: str) -> bytes:
    """Return `LENGTH KEY=VALUE\\n`, where the length counts itself."""
    rest = b" " + _bytes(key) + b"=" + _bytes(value) + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
