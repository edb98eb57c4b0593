"""What a file is, by its first bytes and its name. Asked for every file of an image, so it must be quick."""

from __future__ import annotations

import re

from auditor.codec.tar import is_header

HEAD = 512
"""Bytes that `kind_of` looks at."""

STREAMED = frozenset(("tar", "gzip", "bzip2", "xz", "zstd", "cpio", "deb", "rpm"))
"""Kinds that are read front to back, however large."""

_MAGIC = (
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"!<arch>\ndebian-binary", "deb"),
    (b"\xed\xab\xee\xdb", "rpm"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"SQLite format 3\0", "sqlite"),
    (b"PACK\0\0\0", "git-pack"),
    (b"\xca\xfe\xba\xbe\0", "class"),
    (b"07070", "cpio"),
    (b"\xff\xfe", "utf-16le"),
    (b"\xfe\xff", "utf-16be"),
)
_BY_START = {magic[:2]: (magic, kind) for magic, kind in _MAGIC}
_ZIP_NAMES = frozenset((".zip", ".jar", ".war", ".ear", ".pyz", ".pex", ".whl"))
_LOOSE = re.compile(r"(?:^|/)objects/[0-9a-f]{2}/[0-9a-f]{38}(?:[0-9a-f]{24})?$")
_TEXT = bytes([9, 10, 13, *range(0x20, 0x7F)])


def kind_of(path: str, head: bytes) -> str | None:
    """Name what a file is whose first `HEAD` bytes are given; None for what is not opened.

    Static libraries, executables, pictures and fonts are not, nor is compiled Python of an installed package: its
    plain strings are found without.
    """
    row = _BY_START.get(head[:2])
    if row is not None and head.startswith(row[0]):
        return row[1] if _holds(row[1], head) else None
    if head[257:262] == b"ustar":
        return "tar"
    if b"\0" in head[:2]:
        return _utf16_without_mark(head)
    if head[:1] == b"x" and _LOOSE.search(path):
        return "git-object"
    return _by_name(path, head)


def _by_name(path: str, head: bytes) -> str | None:
    ending = path[-4:]
    if ending == ".pyc":
        return "pyc" if head[2:4] == b"\r\n" and "lib/python" not in path else None
    if ending in _ZIP_NAMES and head:
        return "zip"  # behind a script that starts it
    return "tar" if ending == ".tar" and _is_old_tar(head) else None


def _holds(kind: str, head: bytes) -> bool:
    match kind:
        case "bzip2":
            return head[4:10] == b"1AY&SY"
        case "class":
            return 45 <= int.from_bytes(head[6:8], "big") <= 100  # else a Mach-O of several architectures
        case "cpio":
            return head[5:6] in (b"1", b"2")
        case "git-pack":
            return head[7:8] in (b"\2", b"\3")
        case "utf-16le" | "utf-16be":
            # ISO 8859-1 and MPEG audio may begin so, UTF-32 too.
            return head[2:4] != b"\0\0" and _reads(head[2:], kind)
    return True


def _texty(head: bytes, kind: str) -> bool:
    """Tell whether most of it are ASCII characters of two bytes each."""
    low = 0 if kind == "utf-16le" else 1
    characters, zeros = head[low::2], head[1 - low :: 2]
    if not zeros:
        return False
    return zeros.count(0) * 10 >= len(zeros) * 8 and len(characters.translate(None, _TEXT)) * 10 <= len(characters)


def _reads(data: bytes, kind: str) -> bool:
    """Tell whether it is text in any script: hardly a character that can't be printed."""
    text = data[: len(data) & -2].decode(kind.replace("16", "16-"), "replace")
    odd = sum(not (character.isprintable() or character.isspace()) or character == "\ufffd" for character in text)
    return bool(text) and odd * 20 <= len(text)


def _utf16_without_mark(head: bytes) -> str | None:
    for kind, high in (("utf-16le", head[1:8:2]), ("utf-16be", head[0:8:2])):
        if high == b"\0\0\0\0" and len(head) >= 16 and _texty(head, kind):
            return kind
    return None


def _is_old_tar(head: bytes) -> bool:
    return head[:1] != b"\0" and is_header(head[:HEAD])
