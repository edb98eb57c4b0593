"""Which layers are rewritten, and what stands in them then. Pure: nothing is read here but listings.

A full flatten, `--minimal` and `--from N` merge the layers from one up; what is below stays byte for byte, and the
whiteouts that still act on it are made anew from the difference of the two trees. An excision keeps the layers, and
leaves out entries of some.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType

from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.file_history import FileHistory
from auditor.layers.listing import OPAQUE, WHITEOUT, Listing
from auditor.layers.tree import Tree, TreeInode, TreeNode
from auditor.rebuild.operations import (
    AddFile,
    AddFolder,
    AddLink,
    AddWhiteout,
    CopyEntry,
    ExciseLayer,
    KeepLayer,
    LayerPlan,
    MergeLayers,
    Operation,
    OperationList,
    pack_version,
    unpack_version,
)

_LAST = FileVersion(1 << 20, 0)


def merge(
    listings: Sequence[Listing], lowest: int, unusual: Mapping[str, int] = MappingProxyType({})
) -> tuple[LayerPlan, ...]:
    """Plan one layer out of those from `lowest` up; those below are kept.

    `unusual` are the modes of implied folders that have to be written, as `disk.unusual_folders` has them.
    """
    tree = Tree()
    for number in range(lowest):
        tree.apply(number, listings[number])
    below = list(tree.walk()) if lowest else []
    for number in range(lowest, len(listings)):
        tree.apply(number, listings[number])
    kept = tuple(KeepLayer(number) for number in range(lowest))
    return (*kept, MergeLayers(lowest, OperationList(_ordered(tree, below, lowest, listings, unusual), listings)))


_Placed = tuple[int, str, "Operation | None"]
"""The number of the version in whose place an entry is written, its path, and what it is; None for the entry itself."""


def _ordered(
    tree: Tree,
    below: Sequence[tuple[str, TreeNode]],
    lowest: int,
    listings: Sequence[Listing],
    unusual: Mapping[str, int],
) -> Iterator[Operation]:
    """Yield the entries of the merged layer: marks first, then in the order of the input, folders before content."""
    folders, placed = _folders_and_files(tree, {id(node) for _, node in below}, lowest, listings)
    whiteouts = list(_marks(tree, below))
    for path, mode in unusual.items():
        if path in folders and folders[path].meta is None:
            folders[path] = AddFolder(path, None, mode)
    _drop_implied(folders, unusual, [*(path for _, path, _ in placed), *(whiteout for whiteout, _ in whiteouts)])
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
        yield AddWhiteout(whiteout)
    placed += [(pack_version(operation.meta or _LAST), path, operation) for path, operation in folders.items()]
    placed.sort(key=itemgetter(0, 1))
    for number, path, operation in placed:
        yield from parents(path if isinstance(operation, AddFolder) else path.rpartition("/")[0])
        if not isinstance(operation, AddFolder):
            yield operation or CopyEntry(unpack_version(number))


def _drop_implied(folders: dict[str, AddFolder], unusual: Collection[str], paths: Sequence[str]) -> None:
    """Drop the folders that no entry of the input names, where what is written implies them again."""
    implied = [path for path, folder in folders.items() if folder.meta is None]
    if not implied:
        return
    named = set[str]()
    for path in (*paths, *(path for path, folder in folders.items() if folder.meta is not None)):
        _name_parents(path, named)
    for path in reversed(implied):  # what a folder holds comes after it
        if path in named and path not in unusual:
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
    """Return what the layers from `lowest` up show: folders by path, the rest with its place in the input."""
    folders, files = dict[str, AddFolder](), list[_Placed]()
    names: dict[int, tuple[TreeInode, list[tuple[FileVersion, str]]]] = {}
    for path, node in (("", tree.root), *tree.walk()):
        # Of the root an overlay shows what the top layer says.
        own = node.entry is not None and node.entry.layer >= (lowest if path else len(listings) - 1)
        if node.children is not None:
            if own or (path and (node.layer >= lowest or id(node) not in below)):
                folders[path] = AddFolder(path, node.entry)
            continue
        assert node.entry is not None  # noqa: S101 - only folders are implied
        name = listings[node.entry.layer].paths[node.entry.entry]  # and not `path`: one text for each is enough
        if node.inode is not None and node.content is not None:
            names.setdefault(id(node.inode), (node.inode, []))[1].append((node.entry, name))
        elif own:
            files.append((pack_version(node.entry), name, None))
    for inode, named in names.values():
        files += _names(inode, sorted(named), lowest)
    return folders, files


def _names(inode: TreeInode, names: Sequence[tuple[FileVersion, str]], lowest: int) -> Iterator[_Placed]:
    """Give a file's content its first name, and make the others links to that."""
    first, path = names[0]
    content, metadata = inode.content, tuple(inode.metas)
    assert content is not None  # noqa: S101 - asked before
    if first.layer >= lowest:
        place = content if content.layer >= lowest else first
        yield pack_version(place), path, CopyEntry(first) if metadata == (first,) else AddFile(path, content, metadata)
    for entry, name in names[1:]:
        if entry.layer >= lowest:
            yield pack_version(entry), name, AddLink(entry, path, metadata)


def _marks(tree: Tree, below: Sequence[tuple[str, TreeNode]]) -> Iterator[tuple[str, str]]:
    """Yield the whiteouts that make of the tree below the final one, each with the folder that it stands in."""
    covered = None
    for path, node in below:
        if covered is not None and path.startswith(covered):
            continue
        now = tree.find(path)
        if now is node:
            continue
        covered = path + "/"
        folder, _, name = path.rpartition("/")
        if now is None:
            yield (f"{folder}/{WHITEOUT}{name}" if folder else WHITEOUT + name), folder
        elif now.children is not None and node.children is not None:
            yield f"{path}/{OPAQUE}", path


def excise(listings: Sequence[Listing], trace: FileHistory, gone: set[FileVersion]) -> tuple[LayerPlan, ...]:
    """Plan to leave out the hidden names of the file versions `gone`; all other layers are kept.

    Of a layer that is rewritten, the entries that it shadows itself go too: what stood there first must not come back.
    """
    tree = Tree()
    outputs: list[LayerPlan] = []
    targets = _targets(listings)
    dropped = _dropped(listings, trace, gone, targets)
    lost = {version for entries in dropped.values() for version in entries}
    for number, listing in enumerate(listings):
        replacements: dict[int, tuple[Operation, ...]] = {
            v.entry: _replacement_whiteout(tree, v, listing, trace) for v in dropped.get(number, ())
        }
        moved = _moved_contents(number, listing, targets, lost, replacements)
        outputs.append(ExciseLayer(number, {**replacements, **moved}) if replacements or moved else KeepLayer(number))
        tree.apply(number, listing)
    return tuple(outputs)


def _targets(listings: Sequence[Listing]) -> dict[FileVersion, FileVersion | None]:
    """Return by hard link the entry that holds its bytes."""
    if not any(kind == EntryKind.HARDLINK for listing in listings for kind in set(listing.kinds)):
        return {}
    tree = Tree()
    for number, listing in enumerate(listings):
        tree.apply(number, listing)
    return tree.targets


def _dropped(
    listings: Sequence[Listing],
    trace: FileHistory,
    gone: set[FileVersion],
    targets: Mapping[FileVersion, FileVersion | None],
) -> dict[int, set[FileVersion]]:
    """Return by layer the hidden names of the versions `gone`."""
    dropped: dict[int, set[FileVersion]] = {}
    for version in (*gone, *(link for link, content in targets.items() if content in gone)):
        if trace.hidden_in(version.layer, version.entry) is not None:
            dropped.setdefault(version.layer, set()).add(version)
    return {number: found | _shadowed(number, listings[number], trace) for number, found in dropped.items()}


def _shadowed(number: int, listing: Listing, trace: FileHistory) -> set[FileVersion]:
    """Return the entries that their own layer replaces, but for links, through which others may have gone."""
    stay = (EntryKind.WHITEOUT, EntryKind.SYMLINK)
    return {
        FileVersion(number, entry)
        for entry, kind in enumerate(listing.kinds)
        if trace.hidden_in(number, entry) == number and kind not in stay
    }


def _replacement_whiteout(
    tree: Tree, version: FileVersion, listing: Listing, trace: FileHistory
) -> tuple[Operation, ...]:
    """Return the whiteout that hides a lower folder in place of the file that did; none where there was none.

    A whiteout with a body stays, without it.
    """
    path, kind = listing.paths[version.entry], listing.kinds[version.entry]
    if kind == EntryKind.WHITEOUT:
        return (AddWhiteout(path),) if path.rpartition("/")[2].startswith(WHITEOUT) else ()
    lower = tree.find(path)
    is_shadowed = trace.hidden_in(version.layer, version.entry) == version.layer
    if kind == EntryKind.DIR or is_shadowed or path in listing.whiteouts or lower is None or lower.children is None:
        return ()
    folder, _, name = path.rpartition("/")
    return (AddWhiteout(f"{folder}/{WHITEOUT}{name}" if folder else WHITEOUT + name),)


def _moved_contents(
    number: int,
    listing: Listing,
    targets: Mapping[FileVersion, FileVersion | None],
    lost: set[FileVersion],
    replacements: Mapping[int, tuple[Operation, ...]],
) -> dict[int, tuple[Operation, ...]]:
    """Give a file of which a name goes to its first name of this layer that stays, and lead the others there.

    The metadata of a file is what all its names set, so those that stay are written with that.
    """
    files: dict[FileVersion, list[FileVersion]] = {}
    for entry in sorted(listing.links):
        link = FileVersion(number, entry)
        if (content := targets.get(link)) is not None:
            files.setdefault(content, []).append(link)
    moved: dict[int, tuple[Operation, ...]] = {}
    for content, links in files.items():
        if lost.isdisjoint((content, *links)):
            continue
        metadata, own = (content, *links), content.layer == number
        names = [name for name in (metadata if own else links) if name.entry not in replacements]
        if not names:
            continue
        home = listing.paths[names[0].entry]
        if own:
            moved[content.entry] = (*replacements.get(content.entry, ()), AddFile(home, content, metadata))
            moved |= {names[0].entry: ()} if names[0] != content else {}
        else:
            moved[names[0].entry] = (AddFile(home, content, metadata),)
        moved |= {name.entry: (AddLink(name, home, metadata),) for name in names[1:]}
    return moved
