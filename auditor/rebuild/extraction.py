"""Extraction of layers in memory, from their headers, step by step as Docker and Podman do it.

The proof of a flattened image uses this model; it shares no code with the trees that the plan uses. Each layer is a
folder of its own. Its entries are extracted in order, through the symbolic links that exist by then; an overlay
combines the folders. Where an engine would refuse an entry, the entry replaces the file in its way.

Sources: moby pkg/archive (Unpack, overlayWhiteoutConverter), overlayfs in the Linux kernel's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field

from auditor.codec.tar_headers import Header
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion

SETGID = 0o2000
IMPLIED_MODE = 0o755
"""Mode of a folder without an entry, as Docker and containerd create it."""
_MAX_LINKS = 40
_PREFIX, _OPAQUE = ".wh.", ".wh..wh..opq"
_OPAQUE_XATTR = "SCHILY.xattr.trusted.overlay.opaque"


@dataclass(slots=True, eq=False)
class ExtractedInode:
    """A file or folder. `kind` is None for a hard link without a target.

    `created_by` is the entry that created it, None for an implied folder. `metadata` are the entries that set owner,
    mode and extended attributes, in order, None where `created_by` alone did; `timed` is the entry that set the time
    where that is not the last of them. New folders inherit the `setgid` bit of their parent.
    """

    kind: EntryKind | None
    created_by: FileVersion | None
    link: str | None = None
    children: dict[str, ExtractedInode] | None = None
    metadata: list[FileVersion] | None = None
    timed: FileVersion | None = None
    opaque: bool = False
    setgid: bool = False

    @property
    def metadata_entries(self) -> Sequence[FileVersion]:
        """Entries that set the metadata, in order."""
        if self.metadata is not None:
            return self.metadata
        return () if self.created_by is None else (self.created_by,)

    def apply(self, at: FileVersion) -> None:
        """Add an entry that sets the metadata."""
        self.metadata = list(self.metadata_entries) if self.metadata is None else self.metadata
        self.metadata.append(at)


def _folder(created_by: FileVersion | None = None) -> ExtractedInode:
    return ExtractedInode(EntryKind.DIR, created_by, None, {})


@dataclass(frozen=True, slots=True, eq=False)
class OverlayNode:
    """A name of an overlay file system; `lower` are the folders merged below a folder, highest first."""

    inode: ExtractedInode
    lower: tuple[ExtractedInode, ...] = ()

    def children(self) -> dict[str, OverlayNode]:
        """Return the visible names of a folder; none for other files."""
        if self.inode.children is None:
            return {}
        if not self.lower:
            node = self.inode.children.items()
            return {name: OverlayNode(child) for name, child in node if child.kind is not EntryKind.WHITEOUT}
        found: dict[str, list[ExtractedInode]] = {}
        closed: set[str] = set()
        for folder in (self.inode, *self.lower):
            for name, child in (folder.children or {}).items():
                if name in closed:
                    continue
                is_folder = child.children is not None
                if is_folder or name not in found:
                    found.setdefault(name, []).append(child)
                if not is_folder or child.opaque:
                    closed.add(name)
        return {
            name: OverlayNode(stack[0], tuple(stack[1:]))
            for name, stack in found.items()
            if stack[0].kind is not EntryKind.WHITEOUT
        }


@dataclass(slots=True)
class ExtractedLayer:
    """One layer as a folder; `below` are the layers under it, lowest first."""

    number: int
    below: Sequence[ExtractedLayer]
    root: ExtractedInode = field(default_factory=_folder)
    _timed: dict[str, FileVersion] = field(default_factory=dict)  # times of folders, set at the end, by path
    _last: tuple[str, ExtractedInode] | None = None  # the folder of the previous entry
    has_setgid: bool = False

    def extract(self, header: Header, at: FileVersion | None) -> None:
        """Extract an entry; `at` is None for an unlisted one, such as a whiteout."""
        folder, _, name = header.path.rpartition("/")
        if not header.path:
            if header.kind is EntryKind.DIR and at is not None:
                self.root.apply(at)
            return
        if name == _OPAQUE:
            found = self._find(folder, follow=True)
            if found is not None and found.children is None:
                return  # only folders can be opaque
        if self._last is None or self._last[0] != folder:
            self._last = folder, self._make_folders(folder)
        parent = self._last[1]
        if name.startswith(_PREFIX):
            self._extract_whiteout(parent, name)
        elif at is not None:
            self._create(parent, name, header, at)

    def finish(self) -> None:
        """Set the times of folders, as engines do after the last entry."""
        for path, at in self._timed.items():
            inode = self._find(path, follow=True)
            if inode is not None:
                inode.timed = None if inode.metadata_entries[-1:] == [at] else at
        self._timed.clear()
        self._last = None

    def _extract_whiteout(self, parent: ExtractedInode, name: str) -> None:
        assert parent.children is not None  # noqa: S101 - a folder, from _make_folders
        removed = name[len(_PREFIX) :]
        if name == _OPAQUE:
            parent.opaque = parent is not self.root
        elif removed not in ("", ".", ".."):
            old = parent.children.setdefault(removed, ExtractedInode(EntryKind.WHITEOUT, None))
            old.opaque = old.opaque or old.children is not None

    def _create(self, parent: ExtractedInode, name: str, header: Header, at: FileVersion) -> None:
        assert parent.children is not None  # noqa: S101 - a folder, from _make_folders
        old, kind = parent.children.get(name), header.kind
        if kind is EntryKind.DIR:
            self._timed[header.path] = at
            if old is not None and old.children is not None:
                old.apply(at)
            else:
                self._last = None if old is not None else self._last
                old = parent.children[name] = _folder(at)
            old.opaque = old.opaque or header.pax.get(_OPAQUE_XATTR) == "y"
            old.setgid = bool(header.mode & SETGID)
            self.has_setgid = self.has_setgid or old.setgid
            return
        self._timed.pop(header.path, None)  # engines refuse two entries of one path
        self._last = None if old is not None or kind is EntryKind.SYMLINK else self._last
        parent.children.pop(name, None)
        if kind is EntryKind.HARDLINK:
            inode = self._find(header.link) or self._find_below(header.link)
            if inode is None or inode.children is not None:
                inode = ExtractedInode(None, at, header.link)
            elif inode.kind is not EntryKind.WHITEOUT:
                inode.apply(at)
        elif kind is EntryKind.CHAR and header.device == (0, 0):
            inode = ExtractedInode(EntryKind.WHITEOUT, None)
        else:
            inode = ExtractedInode(kind, at, header.link if kind is EntryKind.SYMLINK else None)
        parent.children[name] = inode

    def _make_folders(self, path: str) -> ExtractedInode:
        """Return the folder at a path, created with its parents where missing."""
        found = self._walk(path, make=True, follow=True)
        if found is None:  # a loop of links, which no engine extracts
            found = self._walk(path, make=True, follow=False)
        assert found is not None  # noqa: S101 - without links every path can be created
        return found

    def _find(self, path: str, *, follow: bool = False) -> ExtractedInode | None:
        """Return the inode at a path. `follow` resolves a symbolic link as its last name."""
        if follow:
            return self._walk(path, make=False, follow=True)
        folder, _, name = path.rpartition("/")
        parent = self._walk(folder, make=False, follow=True)
        return parent.children.get(name) if parent is not None and parent.children is not None else None

    def _find_below(self, path: str) -> ExtractedInode | None:
        """Return the visible inode of the layers below: engines that extract onto them can link to it."""
        node: OverlayNode | None = overlay_root(self.below)
        for name in path.split("/"):
            node = node.children().get(name) if node is not None else None
        return node.inode if node is not None else None

    def _walk(self, path: str, *, make: bool, follow: bool) -> ExtractedInode | None:
        """Resolve a path from the root. `make` creates missing folders; None for a loop of links or a missing file."""
        names, stack, followed = path.split("/")[::-1], [self.root], 0
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                stack = stack[:-1] or stack
                continue
            children = stack[-1].children
            if children is None:
                return None
            child = children.get(name)
            if child is not None and child.kind is EntryKind.SYMLINK and follow:
                followed += 1
                if followed > _MAX_LINKS:
                    return None
                link = child.link or ""
                stack = [self.root] if link.startswith("/") else stack
                names += link.split("/")[::-1]
                continue
            if make and (child is None or child.children is None):
                covers = child is not None and child.kind is EntryKind.WHITEOUT
                child = children[name] = _folder()
                child.opaque, child.setgid = covers, stack[-1].setgid
            if child is None:
                return None
            stack = [*stack, child]
        return stack[-1]


def overlay_root(extracted: Sequence[ExtractedLayer]) -> OverlayNode:
    """Return the root of the overlay of layers, given lowest first."""
    roots = [disk.root for disk in reversed(extracted)]
    return OverlayNode(roots[0], tuple(roots[1:])) if roots else OverlayNode(_folder())


def implied_folder_modes(extracted: Sequence[ExtractedLayer]) -> dict[str, int]:
    """Return the modes of implied folders that a merged layer would imply with another mode, by path.

    A folder inherits the set-group-ID bit of its parent, which may have it from another layer.
    """
    node = walk_overlay(overlay_root(extracted)) if any(disk.has_setgid for disk in extracted) else ()
    bits = {"": False}
    modes = {}
    for path, one in node:
        if one.inode.children is None:
            continue
        bits[path] = one.inode.setgid
        if not one.inode.metadata_entries and (one.inode.setgid or bits[path.rpartition("/")[0]]):
            modes[path] = IMPLIED_MODE | SETGID * one.inode.setgid
    return modes


def walk_overlay(root: OverlayNode) -> Iterator[tuple[str, OverlayNode]]:
    """Yield every path except the root, with its node."""
    stack = [("", root)]
    while stack:
        path, node = stack.pop()
        prefix = path + "/" if path else ""
        for name, child in node.children().items():
            yield prefix + name, child
            if child.inode.children is not None:
                stack.append((prefix + name, child))
