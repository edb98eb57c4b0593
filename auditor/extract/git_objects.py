"""Loose objects of git repositories. Source: gitrepository-layout(5)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from auditor.extract.budget import ExtractContext
from auditor.extract.git_commits import SHORT, CommitHistory
from auditor.extract.member_stream import Member

_MAX_TREE = 4 << 20
_LOOSE = re.compile(rb"(commit|tree|blob|tag) (\d{1,12})\0")
_PATH = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{38}(?:[0-9a-f]{24})?)$")


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the content of an object, named by its kind and the start of its name; trees have no text."""
    data = data[: context.limits.member_bytes]
    loose = loose_object(context.name, data, context.limits.member_bytes)
    if loose is None:
        context.skip(None, "is a broken git object")
        return
    kind, name, content = loose
    context.budget.spend(len(content))
    if kind != "tree" and not context.exceeds_member_bytes(None, len(content)):
        yield Member(f"{kind} {name[:SHORT]}", content)


def loose_object(path: str, data: bytes, limit: int) -> tuple[str, str, bytes] | None:
    """Return kind, name in hex and content of a loose object; None where it is broken.

    The content is cut off behind `limit` bytes and one more.
    """
    try:
        raw = zlib.decompressobj().decompress(data, limit + 64)
    except zlib.error:
        return None
    header = _LOOSE.match(raw)
    if header is None:
        return None
    return header[1].decode(), object_name(path) or "", raw[header.end() : header.end() + limit + 1]


def object_name(path: str) -> str | None:
    """Return a loose object's name in hex, by its path."""
    match = _PATH.search(path)
    return match[1] + match[2] if match else None


def add_loose_object(history: CommitHistory, path: str, data: bytes) -> None:
    """Add a loose commit or tree to the history of its repository; other objects are ignored."""
    try:
        start = zlib.decompressobj().decompress(data, 8)
    except zlib.error:
        return
    loose = loose_object(path, data, _MAX_TREE) if start.startswith((b"commit ", b"tree ")) else None
    if loose is not None:
        history.add(*loose)
