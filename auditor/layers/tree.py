"""The file system that a stack of layers makes, from listings alone.

Each layer is unpacked into a tree of its own, and laid on the tree of those below, as an overlay file system does.
Flatten plans by it. The proof does not use it: `disk` extracts headers as an engine does.
Sources: OCI image spec, layer.md; overlayfs in the Linux kernel's documentation.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.listing import Listing


@dataclass(slots=True, eq=False)
class TreeInode:
    """What all names of a file share: the entry that holds its bytes, and those that set its metadata, in order.

    `content` is None for a hard link that leads nowhere.
    """

    content: FileVersion | None
    metas: list[FileVersion]


@dataclass(slots=True, eq=False)
class TreeNode:
    """A name. `entry` made it: None for a folder that only paths below it imply, and for a whiteout.

    `children` are None unless it is a folder, whose highest layer is `layer`. There is an `inode` where a hard link
    ever led: any other file is its entry, for there is a node for each of a hundred thousand files.
    """

    entry: FileVersion | None
    inode: TreeInode | None = None
    children: dict[str, TreeNode] | None = None
    layer: int = -1
    opaque: bool = False

    @property
    def content(self) -> FileVersion | None:
        """The entry that holds a file's bytes; None for folders, and for hard links that lead nowhere."""
        return None if self.children is not None else self.inode.content if self.inode else self.entry

    @property
    def is_whiteout(self) -> bool:
        """Whether it removes the name from the layers below."""
        return self.entry is None and self.children is None


def folder(entry: FileVersion | None, layer: int) -> TreeNode:
    """Return a folder without content."""
    return TreeNode(entry, None, {}, layer)


@dataclass(slots=True)
class Tree:
    """Layers laid on one another. A name that nothing replaced stays the same `Node` object over further layers.

    A folder that a layer only implies has the metadata of a new one, whatever a lower layer says of it: so do the
    overlays of Docker and Podman show it.
    """

    root: TreeNode = field(default_factory=lambda: folder(None, -1))
    targets: dict[FileVersion, FileVersion | None] = field(default_factory=dict)
    """Of every hard link the entry that held the bytes when it was unpacked."""

    def apply(self, number: int, listing: Listing) -> None:
        """Unpack layer `number`, and lay it on those below."""
        _lay(_Layer(number, listing, self).unpacked(), self.root)

    def find(self, path: str) -> TreeNode | None:
        """Return the node at a path; None where none is."""
        return _find(self.root, path)

    def walk(self) -> Iterator[tuple[str, TreeNode]]:
        """Yield every path but the root, a folder before what it holds."""
        stack = [("", self.root)]
        while stack:
            path, node = stack.pop()
            if path:
                yield path, node
            if node.children:
                prefix = path + "/" if path else ""
                stack += [(prefix + name, child) for name, child in reversed(node.children.items())]


def _find(root: TreeNode, path: str) -> TreeNode | None:
    node = root
    for name in path.split("/") if path else ():
        child = node.children.get(name) if node.children is not None else None
        if child is None:
            return None
        node = child
    return node


def _lay(upper: TreeNode, lower: TreeNode) -> None:
    """Lay a layer's tree on the one below, which takes it up."""
    stack = [(upper, lower)]
    while stack:
        over, under = stack.pop()
        assert over.children is not None and under.children is not None  # noqa: S101 - folders
        for name, node in over.children.items():
            old = under.children.get(name)
            if node.is_whiteout:
                under.children.pop(name, None)
            elif node.children is not None and old is not None and old.children is not None and not node.opaque:
                old.entry, old.layer = node.entry, node.layer
                stack.append((node, old))
            else:
                _drop_whiteouts(node)
                under.children[name] = node
        if over.entry is not None:
            under.entry = over.entry


def _drop_whiteouts(node: TreeNode) -> None:
    """Remove the whiteouts of a folder that has nothing below it."""
    stack = [node]
    while stack:
        children = stack.pop().children
        if children:
            for name in [name for name, child in children.items() if child.is_whiteout]:
                del children[name]
            stack += [child for child in children.values() if child.children]


class _Layer:
    """Unpacks one layer. A hard link to nothing of the layer leads to the layers below, as other engines have it."""

    def __init__(self, number: int, listing: Listing, below: Tree) -> None:
        self._number, self._listing, self._below = number, listing, below
        self._root = folder(None, number)
        self._folders: dict[str, TreeNode] = {"": self._root}

    def unpacked(self) -> TreeNode:
        """Return the layer's own tree."""
        for entry, path in enumerate(self._listing.paths):
            if path:
                self._put(FileVersion(self._number, entry), path)
            elif self._listing.kinds[entry] == EntryKind.DIR:
                self._root.entry = FileVersion(self._number, entry)
        for path in self._listing.opaque:
            if not self._is_blocked(path):
                self._folder(path).opaque = True
        for path in self._listing.whiteouts:
            if not self._is_blocked(path.rpartition("/")[0]):
                siblings, name = self._parent(path)
                node = siblings.setdefault(name, TreeNode(None))
                node.opaque = node.children is not None  # engines refuse it beside a folder: only what is below goes
        return self._root

    def _is_blocked(self, path: str) -> bool:
        """Whether the layer has something else where a marker needs a folder; the marker means nothing then."""
        node: TreeNode | None = self._folders.get(path, self._root)
        for name in path.split("/") if node is self._root else ():
            if node is None or node.children is None:
                break
            node = node.children.get(name)
        return node is not None and node.children is None

    def _put(self, version: FileVersion, path: str) -> None:
        kind = self._listing.kinds[version.entry]
        if kind == EntryKind.WHITEOUT and path not in self._listing.whiteouts:
            return  # a marker's body, which is not extracted
        siblings, name = self._parent(path)
        old = siblings.get(name)
        if kind == EntryKind.DIR and old is not None and old.children is not None:
            old.entry = version
            return
        if old is not None and old.children is not None:
            self._folders = {"": self._root}
        if kind == EntryKind.DIR:
            siblings[name] = folder(version, self._number)
        elif kind == EntryKind.WHITEOUT:
            siblings[name] = TreeNode(None)
        else:
            siblings.pop(name, None)
            inode = self._linked(version) if kind == EntryKind.HARDLINK else None
            siblings[name] = TreeNode(version, inode)

    def _linked(self, version: FileVersion) -> TreeInode:
        target = self._listing.links[version.entry]
        node = _find(self._root, target) or self._below.find(target)
        content = self._below.targets[version] = node.content if node else None
        if node is None or content is None:
            return TreeInode(None, [version])
        if node.inode is None:
            node.inode = TreeInode(content, [content])
        node.inode.metas.append(version)  # engines set a link's owner, mode and times, and so those of its file
        return node.inode

    def _parent(self, path: str) -> tuple[dict[str, TreeNode], str]:
        parent, _, name = path.rpartition("/")
        node = self._folder(parent)
        assert node.children is not None  # noqa: S101
        return node.children, sys.intern(name)  # the same names stand in many folders

    def _folder(self, path: str) -> TreeNode:
        """Return a folder, made where it is missing or something else."""
        node = self._folders.get(path)
        if node is None:
            node = self._root
            for name in path.split("/"):
                assert node.children is not None  # noqa: S101 - made a folder below
                child = node.children.get(name)
                if child is None or child.children is None:
                    child = node.children[name] = folder(None, self._number)
                node = child
            self._folders[path] = node
        return node


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the garbage collector from walking over a growing tree again and again; half of the time went there."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
