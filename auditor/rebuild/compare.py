"""Whether two stacks of layers make the same file system: every path, its metadata, its links, every byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from auditor.codec.sparse import expanded, real_size
from auditor.findings import display
from auditor.model import Digest, Kind, Version
from auditor.rebuild.headers import IMPLIED, Meta, parsed_meta
from auditor.rebuild.reader import LayerReader
from auditor.rebuild.tree import Inode, Node, Tree
from auditor.rebuild.writer import Parts

_DEVICES = (Kind.CHAR, Kind.BLOCK)
_NS = 1_000_000_000
MAX_SHOWN = 20
"""Differences that are written out; the rest is counted."""


@dataclass(slots=True)
class Comparison:
    """How many paths and bytes were compared, and what differs, a line each."""

    paths: int = 0
    bytes: int = 0
    count: int = 0
    differences: list[str] = field(default_factory=list)

    def differs(self, path: str, what: str) -> None:
        """Note a difference."""
        self.count += 1
        if len(self.differences) < MAX_SHOWN:
            self.differences.append(f"{display(path)}: {what}")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two file systems; `digests` are those of its layers, verified."""

    parts: Parts
    tree: Tree
    digests: tuple[Digest, ...]

    def kind(self, node: Node) -> Kind | None:
        """Return what stands there; None for a hard link that leads nowhere."""
        if node.children is not None:
            return Kind.DIR
        if node.inode is None:
            return None
        return Kind(self.parts.listings[node.inode.content.layer].kinds[node.inode.content.entry])

    def meta(self, node: Node) -> Meta:
        """Return the metadata that the file system shows."""
        device = self.kind(node) in _DEVICES
        if node.inode is None:
            return IMPLIED if node.entry is None else parsed_meta(self.parts.meta(node.entry), device=False)
        last = parsed_meta(self.parts.meta(node.inode.meta), device=False)
        first = parsed_meta(self.parts.meta(node.inode.content), device=device)
        return replace(last, device=first.device, xattrs={**first.xattrs, **last.xattrs})

    def raw(self, node: Node) -> tuple[bytes | None, bytes | None]:
        """Return the metadata as it stands: equal, if all is well."""
        if node.inode is None:
            return (None if node.entry is None else self.parts.meta(node.entry)), None
        return self.parts.meta(node.inode.meta), self.parts.meta(node.inode.content)

    def link(self, node: Node) -> str | None:
        """Return where a symbolic link leads."""
        at = node.inode.content if node.inode else node.entry
        return self.parts.listings[at.layer].links.get(at.entry) if at is not None else None


def compare(before: Side, after: Side, *, whole_seconds: bool = False) -> Comparison:
    """Compare two file systems. With `whole_seconds` the fractions of times don't count. Raises Damaged."""
    nodes = _Nodes(before, after, whole_seconds)
    nodes.walk()
    _compare_contents(nodes.result, before, after, nodes.contents)
    return nodes.result


class _Nodes:
    """Walks both trees at once. `contents` are the bodies that must be equal, a pair a file."""

    def __init__(self, before: Side, after: Side, whole_seconds: bool) -> None:
        self.result = Comparison()
        self.contents: list[tuple[Version, Version]] = []
        self._before, self._after, self._whole_seconds = before, after, whole_seconds
        self._partners: dict[int, Inode] = {}
        self._back: dict[int, Inode] = {}

    def walk(self) -> None:
        """Compare every path but the contents."""
        stack = [("", self._before.tree.root, self._after.tree.root)]
        while stack:
            path, old, new = stack.pop()
            self._compare(path, old, new)
            prefix = path + "/" if path else ""
            was, now = old.children or {}, new.children or {}
            for name in sorted(was.keys() ^ now.keys()):
                self.result.differs(prefix + name, f"is {'missing' if name in was else 'new'} in the output")
            for name in sorted(was.keys() & now.keys()):
                self.result.paths += 1
                if was[name].children or now[name].children:
                    stack.append((prefix + name, was[name], now[name]))
                else:
                    self._compare(prefix + name, was[name], now[name])

    def _compare(self, path: str, old: Node, new: Node) -> None:
        before, after, differs = self._before, self._after, self.result.differs
        kind = before.kind(old)
        if kind != after.kind(new):
            differs(path, f"is {_name(after.kind(new))}, was {_name(kind)}")
            return
        if before.raw(old) != after.raw(new):
            self._compare_meta(path, before.meta(old), after.meta(new))
        if kind in (Kind.SYMLINK, None) and before.link(old) != after.link(new):
            differs(path, "leads elsewhere")
        if old.inode and new.inode and self._is_first(path, old.inode, new.inode):
            self.contents.append((old.inode.content, new.inode.content))

    def _compare_meta(self, path: str, was: Meta, now: Meta) -> None:
        if self._whole_seconds:
            was, now = (replace(meta, mtime_ns=meta.mtime_ns // _NS * _NS) for meta in (was, now))
        for name in Meta.__slots__:
            if getattr(was, name) != getattr(now, name):
                self.result.differs(path, f"{name} is {getattr(now, name)!r:.80}, was {getattr(was, name)!r:.80}")

    def _is_first(self, path: str, old: Inode, new: Inode) -> bool:
        """Whether this is the first name of its file; the further ones must lead to the same pair of files."""
        if not (old.linked or new.linked):
            return True
        partner, back = self._partners.get(id(old)), self._back.get(id(new))
        if partner is None and back is None:
            self._partners[id(old)], self._back[id(new)] = new, old
            return True
        if partner is not new or back is not old:
            self.result.differs(path, "is linked to other names")
        return False


def _name(kind: Kind | None) -> str:
    return kind.name.lower() if kind is not None else "a link that leads nowhere"


def _compare_contents(result: Comparison, before: Side, after: Side, pairs: list[tuple[Version, Version]]) -> None:
    """Compare bodies in the order of the output: for the most part both layers are then read once."""
    pairs.sort(key=lambda pair: (pair[1].layer, pair[1].entry))
    with ExitStack() as opened:
        sources = _Bodies(before, opened), _Bodies(after, opened)
        for run in _runs(before, after, pairs):
            result.bytes += sum(sources[1].size(new) for _, new in run)
            if len(run) > 1 and sources[0].same_range(sources[1], run):
                continue
            for old, new in run:
                if not _same(sources[0], old, sources[1], new):
                    result.differs(after.parts.listings[new.layer].paths[new.entry], "has other content")


def _runs(
    before: Side, after: Side, pairs: Iterable[tuple[Version, Version]]
) -> Iterator[list[tuple[Version, Version]]]:
    """Group the pairs whose bodies lie equally far apart in both tars, so that whole ranges may be compared."""
    run: list[tuple[Version, Version]] = []
    last: tuple[int, int, int] | None = None
    for old, new in pairs:
        listings = before.parts.listings[old.layer], after.parts.listings[new.layer]
        if listings[1].kinds[new.entry] != Kind.FILE:
            continue
        if before.digests[old.layer : old.layer + 1] == (after.digests[new.layer],) and old.entry == new.entry:
            continue  # the same bytes, by the layer's digest
        place = old.layer, new.layer, listings[1].offsets[new.entry] - listings[0].offsets[old.entry]
        if run and place != last:
            yield run
            run = []
        last = place
        run.append((old, new))
    if run:
        yield run


class _Bodies:
    """The bodies of one side; a reader is kept for each layer that is asked."""

    def __init__(self, side: Side, opened: ExitStack) -> None:
        self.side, self._opened = side, opened
        self._reader: LayerReader | None = None
        self._number = -1

    def size(self, at: Version) -> int:
        return self.side.parts.listings[at.layer].sizes[at.entry]

    def sparse(self, at: Version) -> object:
        """Return what tells where a sparse file's segments lie; None for a plain one."""
        stored = self.side.parts.headers[at.layer].stored.get(at.entry)
        if stored is None or not stored.header.sparse:
            return None
        pax = {key: value for key, value in stored.header.pax.items() if key.startswith("GNU.sparse.")}
        return stored.header.block[386:495], stored.header.extension, {**pax, "GNU.sparse.name": ""}

    def chunks(self, at: Version, last: Version | None = None) -> Iterator[memoryview]:
        """Yield a body, or all from its start to the end of the body `last`."""
        if self._number != at.layer or self._reader is None:
            if self._reader is not None:
                self._reader.close()
            self._number, self._reader = at.layer, self._opened.enter_context(self.side.parts.reader(at.layer))
        offsets, last = self.side.parts.listings[at.layer].offsets, last or at
        return self._reader.chunks(offsets[at.entry], offsets[last.entry] + self.size(last))

    def same_range(self, other: _Bodies, run: Sequence[tuple[Version, Version]]) -> bool:
        """Whether all bytes of both tars from the first body of a run to the end of the last are equal."""
        (old, new), (last_old, last_new) = run[0], run[-1]
        if any(self.size(a) != other.size(b) or self.sparse(a) != other.sparse(b) for a, b in run):
            return False
        return _same_bytes(self.chunks(old, last_old), other.chunks(new, last_new))

    def shown(self, at: Version) -> Iterator[bytes | memoryview]:
        """Yield the content as the file system shows it, holes as zeros."""
        if self.sparse(at) is None:
            yield from self.chunks(at)
        else:
            header = self.side.parts.headers[at.layer].stored[at.entry].header
            yield from expanded(header, map(bytes, self.chunks(at)), header.extension)

    def shown_size(self, at: Version) -> int:
        if self.sparse(at) is None:
            return self.size(at)
        return real_size(self.side.parts.headers[at.layer].stored[at.entry].header)


def _same(left: _Bodies, old: Version, right: _Bodies, new: Version) -> bool:
    if left.sparse(old) == right.sparse(new):
        return left.size(old) == right.size(new) and _same_bytes(left.chunks(old), right.chunks(new))
    return left.shown_size(old) == right.shown_size(new) and _same_bytes(left.shown(old), right.shown(new))


def _same_bytes(left: Iterator[bytes | memoryview], right: Iterator[bytes | memoryview]) -> bool:
    one = two = b""
    while True:
        one = one or bytes(next(left, b""))
        two = two or bytes(next(right, b""))
        if one == two:
            if not one:
                return True
            one = two = b""
            continue
        count = min(len(one), len(two))
        if not count:
            return False
        if one[:count] != two[:count]:
            return False
        one, two = one[count:], two[count:]
