"""Files in which words say nothing: programs, libraries, pictures, sound, fonts, compressed data.

Tokens are looked for in them as everywhere. Rules that go by the words around a secret are not: most of an image's
bytes are such files. What is compressed is opened, and its inside searched by all rules.
"""

from __future__ import annotations

MIN_WORDLESS = 64 << 10
"""A smaller file is searched by all rules, whatever it is: to pass over it would cost more than it saves."""
HEAD = 16
"""Bytes that `is_wordless` looks at."""

_MAGIC = (
    b"\x7fELF",
    b"MZ",  # Windows programs
    b"\xfe\xed\xfa",  # Mach-O, and byte-swapped
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",  # Mach-O of several architectures; Java classes, whose constants are read
    b"!<arch>\n",  # static libraries, Debian packages
    b"\0asm",
    b"\x1f\x8b\x08",  # gzip
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",  # zstd
    b"BZh",
    b"7z\xbc\xaf",
    b"\xed\xab\xee\xdb",  # rpm
    b"\x89PNG",
    b"\xff\xd8\xff",  # JPEG
    b"GIF8",
    b"RIFF",
    b"OggS",
    b"ID3",
    b"wOF",
    b"\0\1\0\0\0",  # TrueType
    b"OTTO",
    b"ttcf",
    b"\xde\x12\x04\x95",  # translations, compiled by gettext
    b"\xdc\x76\xfe\x98",  # apt's caches of package lists
    b"\x93NUMPY",
)
_FIRST = {magic[0] for magic in _MAGIC}
_THIRD = (b"\r\n", b"\xda\x27")


def is_wordless(head: bytes) -> bool:
    """Tell by the first bytes of a file."""
    if not head:
        return False
    # Compiled Python: the version's two bytes, then these. What is no package's is taken apart. Then ICU's tables.
    return (head[0] in _FIRST and head.startswith(_MAGIC)) or head[2:4] in _THIRD or head[4:8] == b"ftyp"
