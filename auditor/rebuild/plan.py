"""Which layers are rewritten, and what stands in them then. Pure: nothing is read here but listings.

A full flatten, `--minimal` and `--from N` merge the layers from one up; what is below stays byte for byte, and the
whiteouts that still act on it are made anew from the difference of the two trees. An excision keeps the layers, and
leaves out entries of some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from auditor.layers.listing import OPAQUE, WHITEOUT, Listing
from auditor.layers.trace import Trace
from auditor.model import Kind, Version
from auditor.rebuild.puts import (
    Copy,
    Excised,
    File,
    Folder,
    Kept,
    Link,
    Mark,
    Merged,
    Output,
    Put,
    Puts,
    number_of,
    version_of,
)
from auditor.rebuild.tree import Inode, Node, Tree

_LAST = Version(1 << 20, 0)


def merge(listings: Sequence[Listing], lowest: int) -> tuple[Output, ...]:
    """Plan one layer out of those from `lowest` up; those below are kept."""
    tree = Tree()
    for number in range(lowest):
        tree.apply(number, listings[number])
    below = list(tree.walk()) if lowest else []
    for number in range(lowest, len(listings)):
        tree.apply(number, listings[number])
    kept = tuple(Kept(number) for number in range(lowest))
    return (*kept, Merged(lowest, Puts(_ordered(tree, below, lowest, listings), listings)))


_Placed = tuple[int, str, "Put | None"]
"""The number of the version in whose place an entry is written, its path, and what it is; None for the entry itself."""


def _ordered(tree: Tree, below: Sequence[tuple[str, Node]], lowest: int, listings: Sequence[Listing]) -> Iterator[Put]:
    """Yield the entries of the merged layer: marks first, then in the order of the input, folders before content."""
    folders, placed = _folders_and_files(tree, {id(node) for _, node in below}, lowest, listings)
    done: set[str] = set()

    def parents(path: str) -> Iterator[Put]:
        missing = []
        while path not in done:
            done.add(path)
            missing.append(path)
            path = path.rpartition("/")[0]
        for name in reversed(missing):
            if name in folders:
                yield folders.pop(name)

    for mark, folder in _marks(tree, below):
        yield from parents(folder)
        yield Mark(mark)
    placed += [(number_of(put.meta or _LAST), path, put) for path, put in folders.items()]
    placed.sort(key=itemgetter(0, 1))
    for number, path, put in placed:
        yield from parents(path if isinstance(put, Folder) else path.rpartition("/")[0])
        if not isinstance(put, Folder):
            yield put or Copy(version_of(number))


def _folders_and_files(
    tree: Tree, below: set[int], lowest: int, listings: Sequence[Listing]
) -> tuple[dict[str, Folder], list[_Placed]]:
    """Return what the layers from `lowest` up show: folders by path, the rest with its place in the input."""
    folders, files = dict[str, Folder](), list[_Placed]()
    names: dict[int, tuple[Inode, list[tuple[Version, str]]]] = {}
    for path, node in (("", tree.root), *tree.walk()):
        own = node.entry is not None and node.entry.layer >= lowest
        if node.children is not None:
            if own or (path and id(node) not in below):
                folders[path] = Folder(path, node.entry)
            continue
        assert node.entry is not None  # noqa: S101 - only folders are implied
        name = listings[node.entry.layer].paths[node.entry.entry]  # and not `path`: one text for each is enough
        if node.inode is not None and node.content is not None:
            names.setdefault(id(node.inode), (node.inode, []))[1].append((node.entry, name))
        elif own:
            files.append((number_of(node.entry), name, None))
    for inode, named in names.values():
        files += _names(inode, sorted(named), lowest)
    return folders, files


def _names(inode: Inode, names: Sequence[tuple[Version, str]], lowest: int) -> Iterator[_Placed]:
    """Give a file's content its first name, and make the others links to that."""
    first, path = names[0]
    content = inode.content
    assert content is not None  # noqa: S101 - asked before
    if first.layer >= lowest:
        place = content if content.layer >= lowest else first
        same = first == content == inode.meta
        yield number_of(place), path, Copy(first) if same else File(path, content, inode.meta)
    for entry, name in names[1:]:
        if entry.layer >= lowest:
            yield number_of(entry), name, Link(entry, path, inode.meta)


def _marks(tree: Tree, below: Sequence[tuple[str, Node]]) -> Iterator[tuple[str, str]]:
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


def excise(listings: Sequence[Listing], trace: Trace, gone: set[Version]) -> tuple[Output, ...]:
    """Plan to leave out the hidden names of the file versions `gone`; all other layers are kept.

    Of a layer that is rewritten, the entries that it shadows itself go too: what stood there first must not come back.
    """
    tree = Tree()
    outputs: list[Output] = []
    dropped = _dropped(listings, trace, gone)
    lost = {version for entries in dropped.values() for version in entries}
    targets = _targets(listings)
    for number, listing in enumerate(listings):
        instead: dict[int, tuple[Put, ...]] = {v.entry: _covering(tree, v, listing) for v in dropped.get(number, ())}
        moved = _rehomed(number, listing, targets, lost, instead)
        outputs.append(Excised(number, {**instead, **moved}) if instead or moved else Kept(number))
        tree.apply(number, listing)
    return tuple(outputs)


def _targets(listings: Sequence[Listing]) -> dict[Version, Version | None]:
    if not any(kind == Kind.HARDLINK for listing in listings for kind in set(listing.kinds)):
        return {}
    tree = Tree()
    for number, listing in enumerate(listings):
        tree.apply(number, listing)
    return tree.targets


def _dropped(listings: Sequence[Listing], trace: Trace, gone: set[Version]) -> dict[int, set[Version]]:
    """Return by layer the hidden names of the versions `gone`."""
    dropped: dict[int, set[Version]] = {}
    names = {version: version for version in gone}
    names |= {link: content for link, content in _targets(listings).items() if content in gone}
    for version in names:
        if trace.hidden_in(version.layer, version.entry) is not None:
            dropped.setdefault(version.layer, set()).add(version)
    return {number: found | _shadowed(number, listings[number], trace) for number, found in dropped.items()}


def _shadowed(number: int, listing: Listing, trace: Trace) -> set[Version]:
    return {Version(number, entry) for entry in range(len(listing)) if trace.hidden_in(number, entry) == number}


def _covering(tree: Tree, version: Version, listing: Listing) -> tuple[Put, ...]:
    """A file that takes the place of a lower folder hides what lies in that; without the file a whiteout must."""
    path = listing.paths[version.entry]
    lower = tree.find(path)
    if listing.kinds[version.entry] == Kind.DIR or lower is None or lower.children is None:
        return ()
    folder, _, name = path.rpartition("/")
    return (Mark(f"{folder}/{WHITEOUT}{name}" if folder else WHITEOUT + name),)


def _rehomed(
    number: int,
    listing: Listing,
    targets: Mapping[Version, Version | None],
    lost: set[Version],
    instead: Mapping[int, tuple[Put, ...]],
) -> dict[int, tuple[Put, ...]]:
    """Give content whose name goes to the first link of this layer that stays, and lead the others there."""
    moved: dict[int, tuple[Put, ...]] = {}
    homes: dict[Version, str] = {}
    for entry in sorted(listing.links):
        link = Version(number, entry)
        content = targets.get(link)
        if content not in lost or content is None or entry in instead:
            continue
        path = listing.paths[entry]
        if content not in homes and content.layer == number:
            homes[content] = path
            moved[content.entry] = (*instead.get(content.entry, ()), File(path, content, link))
            moved[entry] = ()
        elif content not in homes:
            homes[content] = path
            moved[entry] = (File(path, content, link),)
        else:
            moved[entry] = (Link(link, homes[content], link),)
    return moved
