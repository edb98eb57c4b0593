"""History of all file versions of a stack of layers, computed from the top layer down.

The rules are those of overlay file systems and of the OCI image spec (layer.md):

- A whiteout or an opaque whiteout hides entries of lower layers only, at any position in its tar.
- A folder merges with the folder of a lower layer. Any other entry replaces its path and everything below it.
- Of two entries of one path in one tar, the earlier is overwritten by its own layer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from auditor.core.entries import Deleted, EntryKind, FileVersion, Overwritten, VersionState, Visible
from auditor.layers.listing import Listing

_NEVER = 1 << 30  # above every layer
_DIR, _WHITEOUT = int(EntryKind.DIR), int(EntryKind.WHITEOUT)  # an attribute of an enum is slow to read


class FileHistory:
    """State of every entry of a stack of layers. Building takes time linear in the entries, `state` constant time."""

    def __init__(self, layers: Sequence[Listing], *, stacked: bool = True) -> None:
        """Compute the states. With `stacked` false the layers are independent, as the blobs of an artifact."""
        self.layers = layers
        self._by_path: list[dict[str, list[int]]] | None = None
        self._contents: dict[FileVersion, FileVersion | None] = {}  # of hard links
        # Of each entry, the layer that hides it, or ~layer where that has an entry of the same path; _NEVER if visible.
        self._hidden = [array("i", bytes(4 * len(layer))) for layer in layers]
        for layer in layers:
            layer.paths.unpack()  # they are read in any order from now on
        higher = _HigherLayers()
        for index in reversed(range(len(layers))):
            higher.add_layer(index, layers[index], self._hidden[index])
            if not stacked:
                higher = _HigherLayers()

    def state(self, layer: int, entry: int) -> VersionState:
        """Return the state of an entry: visible, overwritten or deleted."""
        by, is_overwritten = self.hidden_by(layer, entry)
        if by is None:
            return Visible()
        return Overwritten(by) if is_overwritten else Deleted(by)

    def hidden_by(self, layer: int, entry: int) -> tuple[int | None, bool]:
        """Return the layer that hides an entry, None if visible, and whether it has an entry of the same path."""
        hidden = self._hidden[layer][entry]
        return (None, False) if hidden == _NEVER else (~hidden, True) if hidden < 0 else (hidden, False)

    def hidden_in(self, layer: int, entry: int) -> int | None:
        """Return the layer that hides an entry; None if visible."""
        return self.hidden_by(layer, entry)[0]

    def hidden_entries(self, layer: int) -> Iterator[int]:
        """Yield the entries of a layer that are hidden, in their order."""
        return (entry for entry, hidden in enumerate(self._hidden[layer]) if hidden != _NEVER)

    def hidden_layers(self, layer: int) -> Iterator[tuple[int, int]]:
        """Yield the hidden entries of a layer, in their order, with the layer that hides each."""
        return (
            (entry, ~hidden if hidden < 0 else hidden)
            for entry, hidden in enumerate(self._hidden[layer])
            if hidden != _NEVER
        )

    def visible(self) -> dict[str, FileVersion]:
        """Return all visible paths but the root, with the entry of each.

        Folders without an entry, implied by paths below them, are left out: see `implied_folders`.
        """
        tree: dict[str, FileVersion] = {}
        for index, layer in enumerate(self.layers):
            hidden = self._hidden[index]
            for entry, path in enumerate(layer.paths):
                if path and hidden[entry] == _NEVER:
                    tree[path] = FileVersion(index, entry)
        return tree

    def content(self, version: FileVersion) -> FileVersion | None:
        """Return the entry with the bytes of a hard link: an earlier one of its layer, else one visible below it.

        None where the target is missing or no file.
        """
        links: list[FileVersion] = []
        at: FileVersion | None = version
        # Terminates: each link leads to an earlier entry.
        while (
            at is not None and at not in self._contents and self.layers[at.layer].kinds[at.entry] == EntryKind.HARDLINK
        ):
            links.append(at)
            at = self._lookup(self.layers[at.layer].links[at.entry], at)
        content = None if at is None else self._contents.get(at, at)
        for link in links:
            self._contents[link] = content
        if content is None:
            return None
        listing = self.layers[content.layer]
        has_body = listing.kinds[content.entry] == EntryKind.FILE or listing.sizes[content.entry]
        return content if has_body else None

    def _lookup(self, path: str, link: FileVersion) -> FileVersion | None:
        entries = self._targets(link.layer).get(path, [])
        earlier = bisect_left(entries, link.entry)
        if earlier:
            return FileVersion(link.layer, entries[earlier - 1])
        for layer in range(link.layer - 1, -1, -1):
            if entries := self._targets(layer).get(path, []):
                hidden = self.hidden_in(layer, entries[-1])  # earlier entries are hidden by their own layer
                if hidden is None or hidden >= link.layer:
                    return FileVersion(layer, entries[-1])
        return None

    def _targets(self, layer: int) -> dict[str, list[int]]:
        """Return the entries of the paths in a layer that are the target of any hard link of the stack."""
        if self._by_path is None:
            targets = {
                listing.links[entry]
                for listing in self.layers
                for entry in listing.links
                if listing.kinds[entry] == EntryKind.HARDLINK
            }
            self._by_path = [_entries_by_path(listing, targets) for listing in self.layers]
        return self._by_path[layer]


def _entries_by_path(listing: Listing, paths: set[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    if paths:
        for entry, path in enumerate(listing.paths):
            if path in paths:
                found.setdefault(path, []).append(entry)
    return found


class _HigherLayers:
    """Effect of the entries processed so far, of higher layers and later in the same tar, on entries below.

    Each map has the lowest layer: going down, a later assignment is a lower layer.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}  # has an entry of the path that is no folder
        self._folders: dict[str, int] = {}  # has a folder at the path, with an entry or implied by paths below it
        self._whiteouts: dict[str, int] = {}
        self._opaque: dict[str, int] = {}
        self._folder_memo: dict[str, int] = {}  # valid within one layer

    def add_layer(self, index: int, listing: Listing, hidden: array[int]) -> None:
        """Set `hidden` for the entries of a layer, then add the layer's own effect on lower layers."""
        self._folder_memo.clear()
        if not self._add_independent(index, listing, hidden):
            self._add_in_order(index, listing, hidden)
        for path in listing.whiteouts:
            self._whiteouts[path] = index
            self._imply(path.rpartition("/")[0], index)
        for path in listing.opaque:
            self._opaque[path] = index
            self._imply(path, index)

    def _add_independent(self, index: int, listing: Listing, hidden: array[int]) -> bool:
        """Add the entries of a tar in which none replaces another, with operations on sets; return False for others."""
        paths, kinds = list(listing.paths), listing.kinds
        unique = set(paths)
        if len(unique) != len(paths) or _WHITEOUT in kinds:
            return False
        folders = {path for path, kind in zip(paths, kinds, strict=True) if kind == _DIR}
        files, parents = unique - folders, _parents(paths, unique)
        if not files.isdisjoint(parents):
            return False
        hidden[:] = array("i", [_NEVER]) * len(hidden)
        touched = self._files.keys() & unique | self._whiteouts.keys() & unique | self._folders.keys() & files
        if any(effects.keys() & parents for effects in (self._files, self._whiteouts, self._opaque)):
            gone = {folder for folder in parents if self._hidden_in_folder(folder) != _NEVER}
            touched |= {path for path in paths if path.rpartition("/")[0] in gone}
        touched.discard("")
        for entry, path in enumerate(paths if touched else ()):
            if path in touched:
                hidden[entry] = self._hidden_by(path, path.rpartition("/")[0], kinds[entry] == _DIR)
        self._files.update(dict.fromkeys(files, index))
        self._folders.update(dict.fromkeys((folders | parents) - {""}, index))
        return True

    def _add_in_order(self, index: int, listing: Listing, hidden: array[int]) -> None:
        """Add the entries of a tar one by one, the last first: later entries replace earlier ones."""
        replaced: list[tuple[dict[str, int], str, int | None]] = []
        paths, kinds = list(listing.paths), listing.kinds
        for entry in range(len(listing) - 1, -1, -1):
            path, kind = paths[entry], kinds[entry]
            if not path and kind == _DIR:
                hidden[entry] = _NEVER
                continue
            parent = path.rpartition("/")[0]
            if kind == _WHITEOUT:
                hidden[entry] = index  # no engine extracts it
                if path not in listing.whiteouts:  # a whiteout file with a body
                    continue
                effects = self._whiteouts  # a device, which replaces an earlier entry of the tar
            else:
                effects = self._folders if kind == _DIR else self._files
                hidden[entry] = by = self._hidden_by(path, parent, kind == _DIR)
                if by in (index, ~index):
                    replaced.append((effects, path, effects.get(path)))
                    replaced += [
                        (self._folders, folder, self._folders.get(folder)) for folder in self._new(parent, index)
                    ]
            effects[path] = index
            if effects is not self._folders and path in self._folder_memo:  # the path is a folder later in this tar
                self._folder_memo.clear()
            self._imply(parent, index)
        # Entries that the layer itself replaces have no effect on lower layers.
        for effects, path, before in reversed(replaced):
            if before is None:
                del effects[path]
            else:
                effects[path] = before

    def _hidden_by(self, path: str, parent: str, folder: bool) -> int:
        as_file, as_folder = self._files.get(path, _NEVER), self._folders.get(path, _NEVER)
        above = self._folder_memo.get(parent)
        if above is None:
            above = self._hidden_in_folder(parent)
        entry = as_file if folder else min(as_file, as_folder)  # a folder over a folder merges
        hidden = min(entry, self._whiteouts.get(path, _NEVER), above)
        return ~hidden if hidden != _NEVER and hidden == entry else hidden

    def _hidden_in_folder(self, folder: str) -> int:
        """Return the lowest layer that hides the content of a folder."""
        unknown = []
        while folder and folder not in self._folder_memo:
            unknown.append(folder)
            folder = folder.rpartition("/")[0]
        known = self._folder_memo[folder] if folder else self._opaque.get("", _NEVER)
        for path in reversed(unknown):
            known = min(
                known,
                self._files.get(path, _NEVER),
                self._whiteouts.get(path, _NEVER),
                self._opaque.get(path, _NEVER),
            )
            self._folder_memo[path] = known
        return known

    def _imply(self, folder: str, index: int) -> None:
        """Add a folder and its parents: each replaces a file or link at its path in lower layers."""
        for path in self._new(folder, index):
            self._folders[path] = index

    def _new(self, folder: str, index: int) -> Iterator[str]:
        """Yield a folder and its parents as far as the layer does not have them yet."""
        while folder and self._folders.get(folder) != index:
            yield folder
            folder = folder.rpartition("/")[0]


def _parents(paths: Sequence[str], unique: set[str]) -> set[str]:
    """Return all folders above some paths, "" for the root included. `unique` are the same paths."""
    found = {path.rpartition("/")[0] for path in paths}  # a list is in the order of memory: four times as fast as a set
    level = found - unique  # the folders above entries are found already
    while level:
        level = {path.rpartition("/")[0] for path in level} - found
        found |= level
    return found


def implied_folders(tree: dict[str, FileVersion]) -> Iterator[str]:
    """Yield the folders of a tree that have no entry."""
    found: set[str] = set()
    for path in tree:
        parent = path.rpartition("/")[0]
        while parent and parent not in tree and parent not in found:
            found.add(parent)
            yield parent
            parent = parent.rpartition("/")[0]
