"""Packs of git repositories, deltas included.

A pack is read twice: once to find the start of each object, then once along the chain of deltas from each full object,
so that only one chain is in memory. Source: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.core.limits import limit_note
from auditor.extract import git_delta
from auditor.extract.budget import ExtractContext, is_transient
from auditor.extract.git_commits import SHORT, CommitHistory
from auditor.extract.member_stream import Member

_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFFSET_DELTA, _REFERENCE_DELTA = 6, 7
_PIECE = 64 << 10


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield commits, tags and blobs; a blob is named by the newest commit that has it, and its path."""
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
    reader.note_skipped(history)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An object in a pack: offset of its header, start of its compressed data, size of its content."""

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
    """Deltas by the offset of their base."""
    by_name: dict[bytes, list[_Entry]] = field(default_factory=dict)
    """Deltas by the name of their base."""
    deltas: int = 0
    large: int = 0
    broken: int = 0

    def index(self) -> None:
        """Find all objects. Damage is noted; the objects before it are used."""
        count = int.from_bytes(self.data[8:12], "big")
        if count > self.context.limits.git_objects:
            self.context.skip(
                None,
                f"{count} git objects; the first {self.context.limits.git_objects} are read "
                f"{limit_note('git-objects')}",
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
        """Yield kind, name and content of the objects of some kinds. All deltas of a chain have one kind."""
        for root in self.roots:
            kind = _KINDS[root.kind]
            if kind in kinds:
                yield from self._chain(kind, root)

    def note_skipped(self, history: CommitHistory) -> None:
        """Note the objects that were not read."""
        if self.large:
            most = self.context.limits.member_bytes
            reason = f"{self.large} git objects of more than {most} bytes were left out {limit_note('member-bytes')}"
            self.context.skip(None, reason)
        if self.broken:
            self.context.skip(None, f"{self.broken} git deltas are broken")
        if self.deltas:
            self.context.skip(None, f"{self.deltas} git deltas have their base in another pack and were left out")
        if history.full:
            self.context.skip(None, "the repository has too many folders; some blobs are named without their path")

    def _entry(self, at: int) -> int:
        """Read the object at an offset, without its content; return the offset of the next one."""
        offset, first = at, self.data[at]
        kind, size = first >> 4 & 7, first & 15
        at += 1
        if first & 0x80:
            more, at = git_delta.varint(self.data, at)
            size |= more << 4
        base: int | bytes = 0
        if kind == _OFFSET_DELTA:
            back, at = _back(self.data, at)
            base = offset - back
        elif kind == _REFERENCE_DELTA:
            base, at = self.data[at : at + 20], at + 20
        elif kind not in _KINDS:
            raise ValueError(f"no object has type {kind}")
        end = self._inflate(at, size, None)
        self._add(_Entry(kind, offset, at, size), base)
        return end

    def _add(self, entry: _Entry, base: int | bytes) -> None:
        if entry.kind in _KINDS:
            self.roots.append(entry)
            return
        self.deltas += 1
        if isinstance(base, bytes):
            self.by_name.setdefault(base, []).append(entry)
        else:
            self.by_offset.setdefault(base, []).append(entry)

    def _inflate(self, at: int, size: int, into: list[bytes] | None) -> int:
        """Inflate `size` bytes at an offset, into a list if given. Return the offset behind. Raises zlib.error."""
        stream, left = zlib.decompressobj(), size
        step = min(size + 64, _PIECE)
        while not stream.eof:
            if left != size:  # a small object takes one step and needs no check of the time
                self.context.budget.tick()
            chunk = stream.unconsumed_tail or self.data[at : at + step]
            if not stream.unconsumed_tail:
                at += len(chunk)
            if not chunk:
                raise ValueError("it ends within an object")
            data = stream.decompress(chunk, min(left + 1, 4 * _PIECE))
            left -= len(data)
            if left < 0:
                raise ValueError("an object is larger than it says")
            if into is not None:
                into.append(data)
                self.context.budget.spend(len(data))
        if left:
            raise ValueError("an object is smaller than it says")
        return at - len(stream.unused_data)

    def _content(self, entry: _Entry) -> bytes:
        pieces: list[bytes] = []
        self._inflate(entry.start, entry.size, pieces)
        return b"".join(pieces)

    def _chain(self, kind: str, root: _Entry) -> Iterator[tuple[str, str, bytes]]:
        """Yield an object and all its deltas, depth first."""
        if root.size > self.context.limits.member_bytes:
            self.large += 1
            return
        pending: list[tuple[_Entry, bytes | None]] = [(root, None)]
        while pending:
            entry, base = pending.pop()
            content = self._content(entry) if base is None else self._applied(base, entry)
            if content is None:
                continue
            name = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)) + content, usedforsecurity=False)
            yield kind, name.hexdigest(), content
            below = [*self.by_offset.pop(entry.offset, ()), *self.by_name.pop(name.digest(), ())]
            pending += [(child, content) for child in reversed(below)]

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
    """Read the distance to the base of a delta: big-endian, seven bits a byte, one added at each step."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = (value + 1) << 7 | data[at] & 0x7F
        if value >> 63:
            raise ValueError("an offset has no end")
    return value, at + 1
