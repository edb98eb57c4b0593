"""The file system that a stack of layers makes, by unpacking it in memory from the bottom up.

This is what engines do, and the other way round from `layers.trace`: flatten plans by it, and proves with both.
Sources: OCI image spec, layer.md; overlay file systems for what a name and an inode is.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from auditor.layers.listing import Listing
from auditor.model import Kind, Version


@dataclass(slots=True, eq=False)
class Inode:
    """What all names of a file share: the entry that holds its bytes, and the one that set its metadata last.

    `content` is None for what a hard link that leads nowhere would be.
    """

    content: Version | None
    meta: Version


@dataclass(slots=True, eq=False)
class Node:
    """A name. `entry` made it, None for a folder that only paths below it imply.

    `children` are None unless it is a folder. There is an `inode` where a hard link ever led: any other file is its
    entry, for there is a node for each of a hundred thousand files.
    """

    entry: Version | None
    inode: Inode | None = None
    children: dict[str, Node] | None = None

    @property
    def content(self) -> Version | None:
        """The entry that holds a file's bytes; None for folders, and for hard links that lead nowhere."""
        return None if self.children is not None else self.inode.content if self.inode else self.entry

    @property
    def meta(self) -> Version | None:
        """The entry that set the metadata last."""
        return self.inode.meta if self.inode else self.entry


@dataclass(slots=True)
class Tree:
    """Layers unpacked so far. A name that nothing replaced stays the same `Node` object over further layers."""

    root: Node = field(default_factory=lambda: Node(None, None, {}))
    targets: dict[Version, Version | None] = field(default_factory=dict)
    """Of every hard link the entry that held the bytes when it was unpacked."""
    _folders: dict[str, Node] = field(default_factory=dict)

    def apply(self, number: int, listing: Listing) -> None:
        """Unpack layer `number`. Its whiteouts act on lower layers alone, wherever they stand in the tar."""
        for path in listing.whiteouts:
            folder, name = self._parent(path)
            self._replaced(folder.pop(name, None))
        for path in listing.opaque:
            self._folder_at(path).clear()
            self._folders.clear()
        for entry, path in enumerate(listing.paths):
            self._put(Version(number, entry), path, listing)

    def find(self, path: str) -> Node | None:
        """Return what stands at a path."""
        node = self.root
        for name in path.split("/") if path else ():
            child = node.children.get(name) if node.children is not None else None
            if child is None:
                return None
            node = child
        return node

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Yield every path but the root, a folder before what it holds."""
        stack = [("", self.root)]
        while stack:
            path, node = stack.pop()
            if path:
                yield path, node
            if node.children:
                prefix = path + "/" if path else ""
                stack += [(prefix + name, child) for name, child in reversed(node.children.items())]

    def _put(self, version: Version, path: str, listing: Listing) -> None:
        if not path:
            self.root.entry = version
            return
        folder, name = self._parent(path)
        old, kind = folder.get(name), listing.kinds[version.entry]
        if kind == Kind.DIR and old is not None and old.children is not None:
            old.entry = version
            return
        self._replaced(old)
        if kind == Kind.DIR:
            folder[name] = Node(version, None, {})
            return
        inode = self._linked(version, listing.links[version.entry]) if kind == Kind.HARDLINK else None
        folder[name] = Node(version, inode)

    def _linked(self, version: Version, target: str) -> Inode:
        node = self.find(target)
        content = self.targets[version] = node.content if node else None
        if node is None or content is None:
            return Inode(None, version)
        if node.inode is None:
            node.inode = Inode(content, version)
        node.inode.meta = version  # engines set a link's owner, mode and times, and so those of its file
        return node.inode

    def _replaced(self, old: Node | None) -> None:
        if old is not None and old.children is not None:
            self._folders.clear()

    def _parent(self, path: str) -> tuple[dict[str, Node], str]:
        folder, _, name = path.rpartition("/")
        return self._folder_at(folder), sys.intern(name)  # the same names stand in both trees, and many times in each

    def _folder_at(self, path: str) -> dict[str, Node]:
        """Return the children of a folder, made where it is missing or something else."""
        node = self._folders.get(path)
        if node is None:
            node = self.root
            for name in path.split("/") if path else ():
                assert node.children is not None  # noqa: S101 - made a folder below
                child = node.children.get(name)
                if child is None or child.children is None:
                    child = node.children[name] = Node(None, None, {})
                node = child
            self._folders[path] = node
        assert node.children is not None  # noqa: S101
        return node.children


def unpacked(listings: Sequence[Listing]) -> Tree:
    """Unpack a whole stack."""
    tree = Tree()
    for number, listing in enumerate(listings):
        tree.apply(number, listing)
    return tree


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking over a growing tree again and again; half of the time went there."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
