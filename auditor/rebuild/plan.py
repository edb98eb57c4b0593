"""Which layers are rewritten, and what stands in them then. Pure: nothing is read here but listings.

A full flatten, `--minimal` and `--from N` merge the layers from one up; what is below stays byte for byte, and the
whiteouts that still act on it are made anew from the difference of the two trees. An excision keeps the layers, and
leaves out entries of some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditor.layers.listing import OPAQUE, WHITEOUT, Listing
from auditor.layers.trace import Trace
from auditor.model import Kind, Version
from auditor.rebuild.tree import Inode, Node, Tree


@dataclass(frozen=True, slots=True)
class Copy:
    """The entry as it stands, byte for byte."""

    at: Version


@dataclass(frozen=True, slots=True)
class File:
    """The bytes of `content` under `path`, with the metadata of `meta`."""

    path: str
    content: Version
    meta: Version


@dataclass(frozen=True, slots=True)
class Link:
    """The hard link `at`, leading to `target`, with the metadata of `meta`."""

    at: Version
    target: str
    meta: Version


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as its last entry says; where none does, as engines make it."""

    path: str
    meta: Version | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A whiteout or an opaque marker; `path` is its own name in the tar."""

    path: str


Put = Copy | File | Link | Folder | Mark


@dataclass(frozen=True, slots=True)
class Kept:
    """Layer `number`, byte for byte."""

    number: int


@dataclass(frozen=True, slots=True)
class Merged:
    """One layer for all from `lowest` up."""

    lowest: int
    puts: tuple[Put, ...]


@dataclass(frozen=True, slots=True)
class Excised:
    """Layer `number` as it stands, but for the entries in `instead`, each with what takes its place."""

    number: int
    instead: Mapping[int, tuple[Put, ...]]


Output = Kept | Merged | Excised


def kept_layers(outputs: Sequence[Output]) -> int:
    """Count the layers that stay byte for byte."""
    return sum(isinstance(output, Kept) for output in outputs)


def merge(listings: Sequence[Listing], lowest: int) -> tuple[Output, ...]:
    """Plan one layer out of those from `lowest` up; those below are kept."""
    tree = Tree()
    for number in range(lowest):
        tree.apply(number, listings[number])
    below = list(tree.walk()) if lowest else []
    for number in range(lowest, len(listings)):
        tree.apply(number, listings[number])
    kept = tuple(Kept(number) for number in range(lowest))
    return (*kept, Merged(lowest, tuple(_ordered(tree, below, lowest))))


def _ordered(tree: Tree, below: Sequence[tuple[str, Node]], lowest: int) -> Iterator[Put]:
    """Yield the entries of the merged layer: marks first, then in the order of the input, folders before content."""
    folders, files = _folders_and_files(tree, {id(node) for _, node in below}, lowest)
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
    plain = [(meta if (meta := folder.meta) else Version(1 << 30, 0), path, None) for path, folder in folders.items()]
    for _, path, put in sorted([*files, *plain], key=lambda item: item[:2]):
        yield from parents(path if put is None else path.rpartition("/")[0])
        if put is not None:
            yield put


def _folders_and_files(
    tree: Tree, below: set[int], lowest: int
) -> tuple[dict[str, Folder], list[tuple[Version, str, Put | None]]]:
    """Return what the layers from `lowest` up show: folders by path, the rest with its place in the input."""
    folders, files = dict[str, Folder](), list[tuple[Version, str, Put | None]]()
    names: dict[int, tuple[Inode, list[tuple[Version, str]]]] = {}
    for path, node in (("", tree.root), *tree.walk()):
        if node.children is not None:
            own = node.entry is not None and node.entry.layer >= lowest
            if own or (path and id(node) not in below):
                folders[path] = Folder(path, node.entry)
        elif node.inode is not None and node.entry is not None and not node.inode.linked:
            if node.entry.layer >= lowest:
                files.append((node.entry, path, Copy(node.entry)))
        elif node.inode is not None and node.entry is not None:
            names.setdefault(id(node.inode), (node.inode, []))[1].append((node.entry, path))
        elif node.entry is not None and node.entry.layer >= lowest:
            files.append((node.entry, path, Copy(node.entry)))  # a link that leads nowhere
    for inode, named in names.values():
        files += _names(inode, sorted(named), lowest)
    return folders, files


def _names(inode: Inode, names: Sequence[tuple[Version, str]], lowest: int) -> Iterator[tuple[Version, str, Put]]:
    """Give a file's content its first name, and make the others links to that."""
    first, path = names[0]
    if first.layer >= lowest:
        place = inode.content if inode.content.layer >= lowest else first
        same = first == inode.content == inode.meta
        yield place, path, Copy(first) if same else File(path, inode.content, inode.meta)
    for entry, _path in names[1:]:
        if entry.layer >= lowest:
            yield entry, _path, Link(entry, path, inode.meta)


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
