"""Plan that merges the layers from one up, for a full flatten, `--minimal` and `--from N`. Reads listings only.

The layers below are kept. Whiteouts that still act on them are computed from the difference between the two trees.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType

from auditor.core.entries import FileVersion
from auditor.layers.listing import OPAQUE, Listing
from auditor.layers.tree import Tree, TreeInode, TreeNode
from auditor.rebuild.operations import (
    AddFile,
    AddFolder,
    AddLink,
    AddWhiteout,
    CopyEntry,
    KeepLayer,
    LayerPlan,
    MergeLayers,
    Operation,
    OperationList,
    pack_version,
    unpack_version,
    whiteout_of,
)

_LAST = FileVersion(1 << 20, 0)


def merge(
    listings: Sequence[Listing], lowest: int, modes: Mapping[str, int] = MappingProxyType({})
) -> tuple[LayerPlan, ...]:
    """Plan to merge the layers from `lowest` up and to keep those below.

    `modes` are those of implied folders that need an entry (`extraction.implied_folder_modes`).
    """
    tree = Tree()
    for number in range(lowest):
        tree.apply(number, listings[number])
    below = list(tree.walk()) if lowest else []
    for number in range(lowest, len(listings)):
        tree.apply(number, listings[number])
    kept = tuple(KeepLayer(number) for number in range(lowest))
    return (*kept, MergeLayers(lowest, OperationList(_ordered(tree, below, lowest, listings, modes), listings)))


_Placed = tuple[int, str, "Operation | None"]
"""Packed version that sets the position in the layer, path, and operation; None stands for a copy of that version."""


def _ordered(
    tree: Tree,
    below: Sequence[tuple[str, TreeNode]],
    lowest: int,
    listings: Sequence[Listing],
    modes: Mapping[str, int],
) -> Iterator[Operation]:
    """Yield the operations: whiteouts first, then in the order of the input, folders before their content."""
    folders, placed = _folders_and_files(tree, {id(node) for _, node in below}, lowest, listings)
    whiteouts = list(_whiteouts(tree, below))
    for path, mode in modes.items():
        if path in folders and folders[path].version is None:
            folders[path] = AddFolder(path, None, mode)
    _drop_implied(folders, modes, [*(path for _, path, _ in placed), *(whiteout.path for whiteout, _ in whiteouts)])
    done: set[str] = set()

    def parents(path: str) -> Iterator[Operation]:
        missing = []
        while path not in done:
            done.add(path)
            missing.append(path)
            path = path.rpartition("/")[0]
        for name in reversed(missing):
            if name in folders:
                yield folders.pop(name)

    for whiteout, folder in whiteouts:
        yield from parents(folder)
        yield whiteout
    placed += [(pack_version(operation.version or _LAST), path, operation) for path, operation in folders.items()]
    placed.sort(key=itemgetter(0, 1))
    for number, path, operation in placed:
        yield from parents(path if isinstance(operation, AddFolder) else path.rpartition("/")[0])
        if not isinstance(operation, AddFolder):
            yield operation or CopyEntry(unpack_version(number))


def _drop_implied(folders: dict[str, AddFolder], modes: Collection[str], paths: Sequence[str]) -> None:
    """Drop implied folders that the written paths imply again."""
    implied = [path for path, folder in folders.items() if folder.version is None]
    if not implied:
        return
    named = set[str]()
    for path in (*paths, *(path for path, folder in folders.items() if folder.version is not None)):
        _name_parents(path, named)
    for path in reversed(implied):  # content comes after its folder
        if path in named and path not in modes:
            del folders[path]
        else:
            _name_parents(path, named)


def _name_parents(path: str, named: set[str]) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in named:
        named.add(parent)
        parent = parent.rpartition("/")[0]


def _folders_and_files(
    tree: Tree, below: set[int], lowest: int, listings: Sequence[Listing]
) -> tuple[dict[str, AddFolder], list[_Placed]]:
    """Return the visible content of the layers from `lowest` up: folders by path, and positioned files."""
    folders, files = dict[str, AddFolder](), list[_Placed]()
    names: dict[int, tuple[TreeInode, list[tuple[FileVersion, str]]]] = {}
    for path, node in (("", tree.root), *tree.walk()):
        # An overlay shows the root folder of the top layer.
        own = node.entry is not None and node.entry.layer >= (lowest if path else len(listings) - 1)
        if node.children is not None:
            if own or (path and (node.layer >= lowest or id(node) not in below)):
                folders[path] = AddFolder(path, node.entry)
            continue
        assert node.entry is not None  # noqa: S101 - only folders are implied
        name = listings[node.entry.layer].paths[node.entry.entry]  # not `path`: shares the string with the listing
        if node.inode is not None and node.content is not None:
            names.setdefault(id(node.inode), (node.inode, []))[1].append((node.entry, name))
        elif own:
            files.append((pack_version(node.entry), name, None))
    for inode, named in names.values():
        files += _names(inode, sorted(named), lowest)
    return folders, files


def _names(inode: TreeInode, names: Sequence[tuple[FileVersion, str]], lowest: int) -> Iterator[_Placed]:
    """Yield operations for all names of one file: the content under the first, hard links for the others."""
    first, path = names[0]
    content, metadata = inode.content, tuple(inode.metas)
    assert content is not None  # noqa: S101 - files with an inode have content
    if first.layer >= lowest:
        place = content if content.layer >= lowest else first
        yield pack_version(place), path, CopyEntry(first) if metadata == (first,) else AddFile(path, content, metadata)
    for entry, name in names[1:]:
        if entry.layer >= lowest:
            yield pack_version(entry), name, AddLink(entry, path, metadata)


def _whiteouts(tree: Tree, below: Sequence[tuple[str, TreeNode]]) -> Iterator[tuple[AddWhiteout, str]]:
    """Yield the whiteouts that turn the tree of the kept layers into the final one, each with its folder."""
    covered = None
    for path, node in below:
        if covered is not None and path.startswith(covered):
            continue
        now = tree.find(path)
        if now is node:
            continue
        covered = path + "/"
        if now is None:
            yield whiteout_of(path), path.rpartition("/")[0]
        elif now.children is not None and node.children is not None:
            yield AddWhiteout(f"{path}/{OPAQUE}"), path
