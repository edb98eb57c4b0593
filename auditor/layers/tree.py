"""File tree of a stack of layers, from their listings.

Each layer becomes a tree of its own, which is merged into the tree of the layers below, as an overlay file system does.
Flatten plans with it. The proof uses another model, so that an error in this one is found.
Sources: OCI image spec, layer.md; overlayfs in the Linux kernel's documentation.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.listing import Listing


@dataclass(slots=True, eq=False)
class TreeInode:
    """A file with several names: the entry with its bytes, and those that set its metadata, in order.

    `content` is None for a hard link without a target.
    """

    content: FileVersion | None
    metas: list[FileVersion]


@dataclass(slots=True, eq=False)
class TreeNode:
    """A path of the tree, and the entry that created it: None for an implied folder, and for a whiteout.

    Only folders have `children`, and the highest `layer` with the folder. Only targets of hard links have an `inode`:
    the tree has a node for each of a hundred thousand files, so nodes are small.
    """

    entry: FileVersion | None
    inode: TreeInode | None = None
    children: dict[str, TreeNode] | None = None
    layer: int = -1
    opaque: bool = False

    @property
    def content(self) -> FileVersion | None:
        """The entry with the file's bytes; None for folders, and for hard links without a target."""
        return None if self.children is not None else self.inode.content if self.inode else self.entry

    @property
    def is_whiteout(self) -> bool:
        """Whether it deletes the path of lower layers."""
        return self.entry is None and self.children is None


def folder(entry: FileVersion | None, layer: int) -> TreeNode:
    """Return an empty folder."""
    return TreeNode(entry, None, {}, layer)


@dataclass(slots=True)
class Tree:
    """Merged layers. A path that a layer does not replace keeps its `TreeNode` object.

    A folder that a layer implies has default metadata, even where a lower layer has an entry for it: Docker and Podman
    show it like that.
    """

    root: TreeNode = field(default_factory=lambda: folder(None, -1))
    targets: dict[FileVersion, FileVersion | None] = field(default_factory=dict)
    """The entry with the bytes of every hard link, at the time of its extraction."""

    def apply(self, number: int, listing: Listing) -> None:
        """Merge layer `number` into the tree."""
        _merge(_LayerTree(number, listing, self).build(), self.root)

    def find(self, path: str) -> TreeNode | None:
        """Return the node at a path, or None."""
        return _find(self.root, path)

    def walk(self) -> Iterator[tuple[str, TreeNode]]:
        """Yield every path but the root, a folder before its content."""
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


def _merge(upper: TreeNode, lower: TreeNode) -> None:
    """Merge a layer's tree into that of the layers below."""
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
    """Remove the whiteouts of a folder without a counterpart in lower layers."""
    stack = [node]
    while stack:
        children = stack.pop().children
        if children:
            for name in [name for name, child in children.items() if child.is_whiteout]:
                del children[name]
            stack += [child for child in children.values() if child.children]


class _LayerTree:
    """Tree of one layer. Hard links to no entry of the layer refer to lower layers, as in some engines."""

    def __init__(self, number: int, listing: Listing, below: Tree) -> None:
        self._number, self._listing, self._below = number, listing, below
        self._root = folder(None, number)
        self._folders: dict[str, TreeNode] = {"": self._root}

    def build(self) -> TreeNode:
        """Return the tree."""
        for entry, path in enumerate(self._listing.paths):
            if path:
                self._add(FileVersion(self._number, entry), path)
            elif self._listing.kinds[entry] == EntryKind.DIR:
                self._root.entry = FileVersion(self._number, entry)
        for path in self._listing.opaque:
            if not self._is_blocked(path):
                self._folder(path).opaque = True
        for path in self._listing.whiteouts:
            if not self._is_blocked(path.rpartition("/")[0]):
                siblings, name = self._parent(path)
                node = siblings.setdefault(name, TreeNode(None))
                node.opaque = node.children is not None  # beside a folder of the same name it hides only the lower one
        return self._root

    def _is_blocked(self, path: str) -> bool:
        """Tell whether the layer has a file where a whiteout needs a folder; the whiteout has no effect then."""
        node: TreeNode | None = self._folders.get(path, self._root)
        for name in path.split("/") if node is self._root else ():
            if node is None or node.children is None:
                break
            node = node.children.get(name)
        return node is not None and node.children is None

    def _add(self, version: FileVersion, path: str) -> None:
        kind = self._listing.kinds[version.entry]
        if kind == EntryKind.WHITEOUT and path not in self._listing.whiteouts:
            return  # the body of a whiteout, which is not extracted
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
            inode = self._inode_of(version) if kind == EntryKind.HARDLINK else None
            siblings[name] = TreeNode(version, inode)

    def _inode_of(self, version: FileVersion) -> TreeInode:
        target = self._listing.links[version.entry]
        node = _find(self._root, target) or self._below.find(target)
        content = self._below.targets[version] = node.content if node else None
        if node is None or content is None:
            return TreeInode(None, [version])
        if node.inode is None:
            node.inode = TreeInode(content, [content])
        node.inode.metas.append(version)  # engines set owner, mode and times of a link, which are those of its file
        return node.inode

    def _parent(self, path: str) -> tuple[dict[str, TreeNode], str]:
        parent, _, name = path.rpartition("/")
        node = self._folder(parent)
        assert node.children is not None  # noqa: S101
        return node.children, sys.intern(name)  # many folders have the same names

    def _folder(self, path: str) -> TreeNode:
        """Return the folder at a path; create it where it is missing or replaces a file."""
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
    """Pause the garbage collector while a large tree grows: it would take half of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
