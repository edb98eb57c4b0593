"""Layers extracted from their headers, in memory, step by step as Docker and Podman do it.

The proof of a flattened image rests on this: it shares neither paths nor trees with what planned the image. Each layer
is a folder of its own, into which the entries go in order, through whatever symbolic links stand there by then; an
overlay lays the folders on one another. Where an engine refuses a layer, what it can't make takes the place of what is
in its way. Sources: moby pkg/archive (Unpack, overlayWhiteoutConverter), overlayfs in the Linux kernel's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from auditor.codec.tar import Header
from auditor.core.entries import EntryKind, FileVersion

SETGID = 0o2000
IMPLIED_MODE = 0o755
"""A folder that no entry names, as Docker and containerd make it."""
_MAX_LINKS = 40
_PREFIX, _OPAQUE = ".wh.", ".wh..wh..opq"
_OPAQUE_XATTR = "SCHILY.xattr.trusted.overlay.opaque"


@dataclass(slots=True, eq=False)
class ExtractedInode:
    """A file or folder. `kind` is None for a hard link that leads nowhere.

    `made` is the entry that made it, None for a folder that was only implied. `metas` are the entries that set its
    owner, mode and extended attributes, in order, where these are not `made` alone; `timed` the one that set its time
    where that is not the last of them. `setgid` is the bit of a folder that folders made in it take over.
    """

    kind: EntryKind | None
    made: FileVersion | None
    link: str | None = None
    children: dict[str, ExtractedInode] | None = None
    metadata: list[FileVersion] | None = None
    timed: FileVersion | None = None
    opaque: bool = False
    setgid: bool = False

    @property
    def metadata_entries(self) -> Sequence[FileVersion]:
        """The entries that set the metadata, in order."""
        if self.metadata is not None:
            return self.metadata
        return () if self.made is None else (self.made,)

    def apply(self, at: FileVersion) -> None:
        """Note one more entry that sets the metadata."""
        self.metadata = list(self.metadata_entries) if self.metadata is None else self.metadata
        self.metadata.append(at)


def _folder(made: FileVersion | None = None) -> ExtractedInode:
    return ExtractedInode(EntryKind.DIR, made, None, {})


@dataclass(frozen=True, slots=True, eq=False)
class OverlayNode:
    """A name as an overlay shows it; `lower` are the folders that show through a folder, highest first."""

    inode: ExtractedInode
    lower: tuple[ExtractedInode, ...] = ()

    def children(self) -> dict[str, OverlayNode]:
        """Return what a folder shows, by name; nothing for any other file."""
        if self.inode.children is None:
            return {}
        if not self.lower:
            shown = self.inode.children.items()
            return {name: OverlayNode(child) for name, child in shown if child.kind is not EntryKind.WHITEOUT}
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
    """One layer as a folder; `below` are those of the layers under it, lowest first."""

    number: int
    below: Sequence[ExtractedLayer]
    root: ExtractedInode = field(default_factory=_folder)
    _timed: dict[str, FileVersion] = field(default_factory=dict)  # by path the folders whose times are set at the end
    _last: tuple[str, ExtractedInode] | None = None  # the folder of the entry before
    has_setgid: bool = False

    def extract(self, header: Header, at: FileVersion | None) -> None:
        """Extract an entry; `at` is None for one that makes nothing of its own, as a whiteout."""
        folder, _, name = header.path.rpartition("/")
        if not header.path:
            if header.kind is EntryKind.DIR and at is not None:
                self.root.apply(at)
            return
        if name == _OPAQUE:
            found = self._find(folder, follow=True)
            if found is not None and found.children is None:
                return  # an attribute of something else means nothing
        if self._last is None or self._last[0] != folder:
            self._last = folder, self._mkdirs(folder)
        parent = self._last[1]
        if name.startswith(_PREFIX):
            self._remove(parent, name)
        elif at is not None:
            self._make(parent, name, header, at)

    def finish(self) -> None:
        """Set the times of folders, as engines do once everything is extracted."""
        for path, at in self._timed.items():
            inode = self._find(path, follow=True)
            if inode is not None:
                inode.timed = None if inode.metadata_entries[-1:] == [at] else at
        self._timed.clear()
        self._last = None

    def _remove(self, parent: ExtractedInode, name: str) -> None:
        assert parent.children is not None  # noqa: S101 - made by _mkdirs
        removed = name[len(_PREFIX) :]
        if name == _OPAQUE:
            parent.opaque = parent is not self.root
        elif removed not in ("", ".", ".."):
            old = parent.children.setdefault(removed, ExtractedInode(EntryKind.WHITEOUT, None))
            old.opaque = old.opaque or old.children is not None

    def _make(self, parent: ExtractedInode, name: str, header: Header, at: FileVersion) -> None:
        assert parent.children is not None  # noqa: S101 - made by _mkdirs
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
        self._timed.pop(header.path, None)  # engines refuse two entries of one name
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

    def _mkdirs(self, path: str) -> ExtractedInode:
        """Return a folder, made where it is missing."""
        found = self._walk(path, make=True, follow=True)
        if found is None:  # a loop of links: no engine extracts it
            found = self._walk(path, make=True, follow=False)
        assert found is not None  # noqa: S101 - nothing is followed
        return found

    def _find(self, path: str, *, follow: bool = False) -> ExtractedInode | None:
        """Return the inode at a path; its last name is followed only on demand."""
        if follow:
            return self._walk(path, make=False, follow=True)
        folder, _, name = path.rpartition("/")
        parent = self._walk(folder, make=False, follow=True)
        return parent.children.get(name) if parent is not None and parent.children is not None else None

    def _find_below(self, path: str) -> ExtractedInode | None:
        """Return what the layers below show at a path: engines that extract onto these link to it."""
        shown: OverlayNode | None = overlay_root(self.below)
        for name in path.split("/"):
            shown = shown.children().get(name) if shown is not None else None
        return shown.inode if shown is not None else None

    def _walk(self, path: str, *, make: bool, follow: bool) -> ExtractedInode | None:
        """Walk from the root, through links where told; None for a loop, and for what is not there and not made."""
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
    """Return the root that an overlay of layers shows, lowest first."""
    roots = [disk.root for disk in reversed(extracted)]
    return OverlayNode(roots[0], tuple(roots[1:])) if roots else OverlayNode(_folder())


def implied_folder_modes(extracted: Sequence[ExtractedLayer]) -> dict[str, int]:
    """Return the modes of implied folders that a layer of all files would not imply, or not with the usual mode.

    A folder takes the bit of the folder in which it is made, and that may have got it from another layer.
    """
    shown = walk_overlay(overlay_root(extracted)) if any(disk.has_setgid for disk in extracted) else ()
    bits = {"": False}
    unusual = {}
    for path, one in shown:
        if one.inode.children is None:
            continue
        bits[path] = one.inode.setgid
        if not one.inode.metadata_entries and (one.inode.setgid or bits[path.rpartition("/")[0]]):
            unusual[path] = IMPLIED_MODE | SETGID * one.inode.setgid
    return unusual


def walk_overlay(root: OverlayNode) -> Iterator[tuple[str, OverlayNode]]:
    """Yield every path but the root with what it shows."""
    stack = [("", root)]
    while stack:
        path, shown = stack.pop()
        prefix = path + "/" if path else ""
        for name, child in shown.children().items():
            yield prefix + name, child
            if child.inode.children is not None:
                stack.append((prefix + name, child))
