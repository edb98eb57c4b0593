"""File signatures: the one table of magic bytes, used by decompression, extraction and the choice of rules.

A type with further conditions has a check of the file's first `HEAD` bytes. Sources: file(1), and the specification of
each format.
"""

from __future__ import annotations

from collections.abc import Callable

from auditor.core.dataclass import dataclass

HEAD = 512
"""Bytes from the start of a file that decide its type."""
_ALWAYS = 0
"""Files of any size are opaque: compressed ones, and those whose texts are extracted."""
_LARGE = 64 << 10
"""Larger files are opaque: programs, whose author may have written words in a small one; types whose magic is text."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Magic bytes at the start of a file type."""

    name: str
    magic: bytes
    is_container: bool = False
    """Whether it holds files or text to extract: auditor/extract/formats.py has a row of the same name."""
    opaque_from: int | None = None
    """Size in bytes from which no words stand beside a secret: it is compressed or binary throughout. None for text."""
    check: Callable[[bytes], bool] | None = None


def signature_of(head: bytes) -> Signature | None:
    """Return the signature of a file by its first `HEAD` bytes; None for text and unknown types."""
    found = None
    for signature in _BY_START.get(head[:2], ()):
        if head.startswith(signature.magic) and (signature.check is None or signature.check(head)):
            found = signature
            break
    if found is not None and found.is_container:
        return found
    if head[257:262] == b"ustar":  # a tar begins with a file name, which may look like any magic
        return _TAR
    return _utf16_without_mark(head) if found is None and b"\0" in head[:2] else found


def is_opaque(head: bytes, size: int) -> bool:
    """Tell whether a file is compressed or binary throughout, by its first 16 bytes and its size in bytes."""
    for signature in _BY_START.get(head[:2], ()):
        if head.startswith(signature.magic) and (signature.check is None or signature.check(head)):
            return signature.opaque_from is not None and size >= signature.opaque_from
    # Compiled Python: the version's two bytes, then a line end. Tables of ICU. MP4 and its kin.
    return size >= _LARGE and (head[2:4] in (b"\r\n", b"\xda\x27") or head[4:8] == b"ftyp")


def _is_bzip2(head: bytes) -> bool:
    return head[4:10] == b"1AY&SY"


def _is_java_class(head: bytes) -> bool:
    return 45 <= int.from_bytes(head[6:8], "big") <= 100  # a Mach-O of several architectures has its count here


def _is_new_cpio(head: bytes) -> bool:
    return head[5:6] in (b"1", b"2")


def _is_git_pack(head: bytes) -> bool:
    return head[7:8] in (b"\2", b"\3")


def _is_utf16le(head: bytes) -> bool:
    return _is_readable(head[2:], "utf-16-le")


def _is_utf16be(head: bytes) -> bool:
    return _is_readable(head[2:], "utf-16-be")


def _is_readable(data: bytes, encoding: str) -> bool:
    """Tell whether nearly all characters are printable. ISO 8859-1, MPEG audio and UTF-32 may have the same mark."""
    if data[:2] == b"\0\0":
        return False
    text = data[: len(data) & -2].decode(encoding, "replace")
    odd = sum(not (character.isprintable() or character.isspace()) or character == "\ufffd" for character in text)
    return bool(text) and odd * 20 <= len(text)


_ASCII_TEXT = bytes([9, 10, 13, *range(0x20, 0x7F)])


def _utf16_without_mark(head: bytes) -> Signature | None:
    """Recognise UTF-16 without a byte order mark: most characters are ASCII, with a zero as their other byte."""
    if len(head) < 16:
        return None
    for signature, low in ((_UTF16LE, 0), (_UTF16BE, 1)):
        characters, zeros = head[low::2], head[1 - low :: 2]
        if (
            zeros[:4] == b"\0\0\0\0"
            and zeros.count(0) * 10 >= len(zeros) * 8
            and len(characters.translate(None, _ASCII_TEXT)) * 10 <= len(characters)
        ):
            return signature
    return None


_TAR = Signature("tar", b"", is_container=True)
_UTF16LE = Signature("utf-16le", b"\xff\xfe", is_container=True, check=_is_utf16le)
_UTF16BE = Signature("utf-16be", b"\xfe\xff", is_container=True, check=_is_utf16be)

SIGNATURES = (
    Signature("gzip", b"\x1f\x8b\x08", is_container=True, opaque_from=_ALWAYS),
    Signature("zstd", b"\x28\xb5\x2f\xfd", is_container=True, opaque_from=_ALWAYS),
    # Skippable frames: 0x184D2A50 to 0x184D2A5F, little-endian. RFC 8878, 3.1.2.
    *(Signature("zstd", bytes([low]) + b"\x2a\x4d\x18", is_container=True) for low in range(0x50, 0x60)),
    Signature("xz", b"\xfd7zXZ\0", is_container=True, opaque_from=_ALWAYS),
    Signature("bzip2", b"BZh", is_container=True, opaque_from=_ALWAYS, check=_is_bzip2),
    Signature("zip", b"PK\x03\x04", is_container=True, opaque_from=_ALWAYS),
    Signature("7z", b"7z\xbc\xaf\x27\x1c", is_container=True, opaque_from=_ALWAYS),
    Signature("cpio", b"07070", is_container=True, check=_is_new_cpio),
    Signature("deb", b"!<arch>\ndebian-binary", is_container=True, opaque_from=_LARGE),
    Signature("rpm", b"\xed\xab\xee\xdb", is_container=True, opaque_from=_ALWAYS),
    Signature("sqlite", b"SQLite format 3\0", is_container=True),
    Signature("git-pack", b"PACK\0\0\0", is_container=True, check=_is_git_pack),
    Signature("class", b"\xca\xfe\xba\xbe\0", is_container=True, opaque_from=_ALWAYS, check=_is_java_class),
    _UTF16LE,
    _UTF16BE,
    Signature("static library", b"!<arch>\n", opaque_from=_LARGE),
    Signature("ELF", b"\x7fELF", opaque_from=_LARGE),
    Signature("PE", b"MZ", opaque_from=_LARGE),
    Signature("Mach-O", b"\xfe\xed\xfa", opaque_from=_LARGE),
    Signature("Mach-O", b"\xcf\xfa\xed\xfe", opaque_from=_LARGE),
    Signature("Mach-O", b"\xce\xfa\xed\xfe", opaque_from=_LARGE),
    Signature("Mach-O", b"\xca\xfe\xba\xbe", opaque_from=_LARGE),
    Signature("WebAssembly", b"\0asm", opaque_from=_LARGE),
    Signature("PNG", b"\x89PNG", opaque_from=_LARGE),
    Signature("JPEG", b"\xff\xd8\xff", opaque_from=_LARGE),
    Signature("GIF", b"GIF8", opaque_from=_LARGE),
    Signature("RIFF", b"RIFF", opaque_from=_LARGE),
    Signature("Ogg", b"OggS", opaque_from=_LARGE),
    Signature("MP3", b"ID3", opaque_from=_LARGE),
    Signature("WOFF", b"wOF", opaque_from=_LARGE),
    Signature("TrueType", b"\0\1\0\0\0", opaque_from=_LARGE),
    Signature("OpenType", b"OTTO", opaque_from=_LARGE),
    Signature("TrueType collection", b"ttcf", opaque_from=_LARGE),
    Signature("gettext", b"\xde\x12\x04\x95", opaque_from=_LARGE),
    Signature("apt package cache", b"\xdc\x76\xfe\x98", opaque_from=_LARGE),
    Signature("NumPy", b"\x93NUMPY", opaque_from=_LARGE),
    *(Signature("pickle", magic, opaque_from=_LARGE) for magic in (b"\x80\2", b"\x80\3", b"\x80\4\x95", b"\x80\5\x95")),
    Signature("HDF5", b"\x89HDF\r\n\x1a\n", opaque_from=_LARGE),
    Signature("Parquet", b"PAR1", opaque_from=_LARGE),
    Signature("GGUF", b"GGUF", opaque_from=_LARGE),
    Signature("Matroska", b"\x1aE\xdf\xa3", opaque_from=_LARGE),
    Signature("FLAC", b"fLaC", opaque_from=_LARGE),
    Signature("LLVM bitcode", b"BC\xc0\xde", opaque_from=_LARGE),
    Signature("Java modules", b"\xda\xda\xfe\xca", opaque_from=_LARGE),
    Signature("Java module", b"JM\1\0", opaque_from=_LARGE),
    Signature("Java class data", b"\xa2\xab\x0b\xf0", opaque_from=_LARGE),
)
"""Types in the order in which they are tried: a longer magic before its own beginning."""


def magics_of(*names: str) -> tuple[bytes, ...]:
    """Return the magic bytes of some types."""
    return tuple(signature.magic for signature in SIGNATURES if signature.name in names)


_BY_START: dict[bytes, tuple[Signature, ...]] = {
    start: tuple(signature for signature in SIGNATURES if signature.magic[:2] == start)
    for start in {signature.magic[:2] for signature in SIGNATURES}
}
