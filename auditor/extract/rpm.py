"""RPM packages: two headers, then a compressed cpio archive. Source: "RPM package format" of the rpm manual.

The libraries for the format read a whole package into memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from auditor.core.errors import Damaged
from auditor.extract import cpio
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.compressed import inflated
from auditor.extract.member_stream import Member, MemberStream

_LEAD = 96


def read(source: MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield the files of the payload."""
    source.skip(_LEAD)
    for alignment in (8, 1):  # the signature's header is padded, the main one is not
        intro = source.read(16)
        if len(intro) < 16 or intro[:3] != b"\x8e\xad\xe8":
            context.skip(None, "is a broken rpm package")
            return
        count, size = struct.unpack(">II", intro[8:])
        length = 16 * count + size
        source.skip(length + -length % alignment)
    payload = inflated(source, context)
    try:
        yield from cpio.read(payload, context)
        payload.raise_error()
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
