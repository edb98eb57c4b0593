"""Git objects, loose and in packs with deltas.

A pack is read twice: once to find where objects begin, then chain by chain from each whole object along its deltas,
so that no more is in memory than one chain. Source: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from auditor.core.limits import named
from auditor.extract import git_delta
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.git_commits import SHORT, CommitHistory
from auditor.extract.member_stream import Member, MemberStream, as_stream

_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFFSET, _REFERENCE = 6, 7
_PIECE = 64 << 10
_MAX_TREE = 4 << 20
_LOOSE = re.compile(rb"(commit|tree|blob|tag) (\d{1,12})\0")
_PATH = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{38}(?:[0-9a-f]{24})?)$")


def loose(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield a loose object's content, named by its kind and the start of its name; trees have no text."""
    data = as_stream(body).read(context.limits.member_bytes)
    found = loose_object(context.name, data, context.limits.member_bytes)
    if found is None:
        context.skip(None, "is a broken git object")
        return
    kind, name, content = found
    context.budget.spend(len(content))
    if kind != "tree" and not context.exceeds_member_bytes(None, len(content)):
        yield Member(f"{kind} {name[:SHORT]}", content)


def loose_object(path: str, data: bytes, limit: int) -> tuple[str, str, bytes] | None:
    """Return kind, name in hex and content of a loose object, one byte more than `limit` at most; None if broken."""
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
    """Give a loose object to the history of its repository; what is neither commit nor tree is ignored."""
    try:
        start = zlib.decompressobj().decompress(data, 8)
    except zlib.error:
        return
    found = loose_object(path, data, _MAX_TREE) if start.startswith((b"commit ", b"tree ")) else None
    if found is not None:
        history.add(*found)


def pack(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield all commits, tags and blobs of a pack; blobs by the newest commit that has them, and their path."""
    data = as_stream(body).read(context.limits.unpacked_bytes) if isinstance(body, MemberStream) else body
    reader = _Pack(data, context)
    reader.index()
    history = CommitHistory()
    for kind, name, content in reader.objects(("commit", "tag", "tree")):
        history.add(kind, name, content)
        if kind != "tree":
            context.budget.member()
            yield Member(f"{kind} {name[:SHORT]}", content)
    blob_paths = history.blob_paths()
    for _, name, content in reader.objects(("blob",)):
        context.budget.member()
        yield Member(blob_paths.get(name) or f"blob {name[:SHORT]}", content)
    reader.close(history)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An object in a pack: where its compressed bytes are, and how many come out."""

    kind: int
    offset: int
    start: int
    size: int


@dataclass(slots=True)
class _Pack:
    data: bytes
    context: ExtractContext
    roots: list[_Entry] = field(default_factory=list)
    by_offset: dict[int, list[_Entry]] = field(default_factory=dict)
    """Deltas by the place of their base."""
    by_name: dict[bytes, list[_Entry]] = field(default_factory=dict)
    """Deltas by the name of their base."""
    deltas: int = 0
    large: int = 0
    broken: int = 0

    def index(self) -> None:
        """Find all objects. A pack that breaks off is noted, and used as far as it goes."""
        count = int.from_bytes(self.data[8:12], "big")
        if count > self.context.limits.git_objects:
            self.context.skip(
                None,
                f"{count} git objects; the first {self.context.limits.git_objects} are read {named('git-objects')}",
            )
        at = 12
        try:
            for number in range(min(count, self.context.limits.git_objects)):
                if number % 1024 == 0:
                    self.context.budget.tick()
                at = self._entry(at)
        except (ValueError, IndexError, zlib.error) as exc:
            reason = f"is a broken git pack from byte {at} on: {exc}"
            self.context.skip(None, reason, transient=is_transient(exc))

    def objects(self, kinds: tuple[str, ...]) -> Iterator[tuple[str, str, bytes]]:
        """Yield kind, name and content of all objects of some kinds; a chain of deltas is of one kind."""
        for root in self.roots:
            kind = _KINDS[root.kind]
            if kind in kinds:
                yield from self._chain(kind, root)

    def close(self, history: CommitHistory) -> None:
        """Note what could not be read."""
        if self.large:
            most = self.context.limits.member_bytes
            reason = f"{self.large} git objects of more than {most} bytes were left out {named('member-bytes')}"
            self.context.skip(None, reason)
        if self.broken:
            self.context.skip(None, f"{self.broken} git deltas are broken")
        if self.deltas:
            self.context.skip(None, f"{self.deltas} git deltas have their base elsewhere and were left out")
        if history.full:
            self.context.skip(None, "the repository has more folders than were looked up; some paths are not named")

    def _entry(self, at: int) -> int:
        """Read the header of the object at a place and pass over its data; return where the next one begins."""
        offset, first = at, self.data[at]
        kind, size = first >> 4 & 7, first & 15
        at += 1
        if first & 0x80:
            more, at = git_delta.varint(self.data, at)
            size |= more << 4
        base: int | bytes = 0
        if kind == _OFFSET:
            back, at = _back(self.data, at)
            base = offset - back
        elif kind == _REFERENCE:
            base, at = self.data[at : at + 20], at + 20
        elif kind not in _KINDS:
            raise ValueError(f"no object has type {kind}")
        end = self._inflate(at, size, None)
        self._take(_Entry(kind, offset, at, size), base)
        return end

    def _take(self, entry: _Entry, base: int | bytes) -> None:
        if entry.kind in _KINDS:
            self.roots.append(entry)
            return
        self.deltas += 1
        if isinstance(base, bytes):
            self.by_name.setdefault(base, []).append(entry)
        else:
            self.by_offset.setdefault(base, []).append(entry)

    def _inflate(self, at: int, size: int, into: list[bytes] | None) -> int:
        """Inflate `size` bytes at a place, to keep them or not; return where their data ends. Raises zlib.error."""
        stream, left = zlib.decompressobj(), size
        step = min(size + 64, _PIECE)
        while not stream.eof:
            if left != size:  # a small object takes one step; the clock is for large ones
                self.context.budget.tick()
            chunk = stream.unconsumed_tail or self.data[at : at + step]
            if not stream.unconsumed_tail:
                at += len(chunk)
            if not chunk:
                raise ValueError("it ends within an object")
            got = stream.decompress(chunk, min(left + 1, 4 * _PIECE))
            left -= len(got)
            if left < 0:
                raise ValueError("an object is larger than it says")
            if into is not None:
                into.append(got)
                self.context.budget.spend(len(got))
        if left:
            raise ValueError("an object is smaller than it says")
        return at - len(stream.unused_data)

    def _content(self, entry: _Entry) -> bytes:
        pieces: list[bytes] = []
        self._inflate(entry.start, entry.size, pieces)
        return b"".join(pieces)

    def _chain(self, kind: str, root: _Entry) -> Iterator[tuple[str, str, bytes]]:
        """Yield an object and all that are deltas of it, depth first."""
        if root.size > self.context.limits.member_bytes:
            self.large += 1
            return
        waiting: list[tuple[_Entry, bytes | None]] = [(root, None)]
        while waiting:
            entry, base = waiting.pop()
            content = self._content(entry) if base is None else self._applied(base, entry)
            if content is None:
                continue
            name = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)) + content, usedforsecurity=False)
            yield kind, name.hexdigest(), content
            below = [*self.by_offset.pop(entry.offset, ()), *self.by_name.pop(name.digest(), ())]
            waiting += [(child, content) for child in reversed(below)]

    def _applied(self, base: bytes, entry: _Entry) -> bytes | None:
        self.deltas -= 1
        if entry.size > self.context.limits.member_bytes:
            self.large += 1
            return None
        try:
            changes = self._content(entry)
            if git_delta.sizes(changes)[1] > self.context.limits.member_bytes:
                self.large += 1
                return None
            content = git_delta.applied(base, changes)
        except (ValueError, IndexError):
            self.broken += 1
            return None
        self.context.budget.spend(len(content))
        return content


def _back(data: bytes, at: int) -> tuple[int, int]:
    """Read how far back a base lies: seven bits a byte, big end first, one added at each step."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = (value + 1) << 7 | data[at] & 0x7F
        if value >> 63:
            raise ValueError("an offset has no end")
    return value, at + 1
