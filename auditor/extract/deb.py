"""Debian packages: an ar archive of compressed tars. Source: deb(5).

The libraries for the format read a whole package into memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.extract.budget import ExtractContext
from auditor.extract.member_stream import Member, MemberStream

_HEADER = 60


def read(source: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the members of the ar archive: `control.tar.*` and `data.tar.*` as streams."""
    source.skip(8)
    while len(header := source.read(_HEADER)) == _HEADER:
        name = header[:16].decode("latin-1").rstrip(" /")
        digits = header[48:58].strip()
        if not digits.isdigit() or header[58:] != b"`\n":
            context.skip(None, "is a broken ar archive")
            return
        context.budget.member()
        size = int(digits)
        part = source.part(size)
        yield Member(name, part if ".tar" in name else part.read(context.limits.member_bytes))
        part.skip(size)
        source.skip(size & 1)
