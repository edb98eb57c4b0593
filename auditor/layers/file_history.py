"""What became of every file version: a fold over the stack, from the top layer down.

The rules are those of overlay file systems and of the OCI image spec (layer.md): a whiteout or an opaque marker hides
only lower layers, wherever in its tar it stands; a folder over a folder merges; anything else replaces what is there
and hides all that lies below it. Of two entries of one path in one tar the earlier is overwritten by its own layer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from auditor.core.entries import Deleted, EntryKind, FileVersion, Overwritten, VersionState, Visible
from auditor.layers.listing import Listing

_NEVER = 1 << 30  # above every layer


class FileHistory:
    """The fates of all entries of a stack of layers. `fate` is constant time; building is linear in the entries."""

    def __init__(self, layers: Sequence[Listing], *, stacked: bool = True) -> None:
        """FileHistory layers that lie on one another; with `stacked` false each by itself, as an artifact's blobs."""
        self.layers = layers
        self._by_path: list[dict[str, list[int]]] | None = None
        self._contents: dict[FileVersion, FileVersion | None] = {}  # of hard links
        # For each entry the layer that hides it, _NEVER while it is visible; ~layer where that one holds the path anew.
        self._hidden = [array("i", bytes(4 * len(layer))) for layer in layers]
        above = _Above()
        for index in reversed(range(len(layers))):
            above.add_layer(index, layers[index], self._hidden[index])
            if not stacked:
                above = _Above()

    def fate(self, layer: int, entry: int) -> VersionState:
        """Return what became of an entry."""
        by, anew = self.hidden_by(layer, entry)
        if by is None:
            return Visible()
        return Overwritten(by) if anew else Deleted(by)

    def hidden_by(self, layer: int, entry: int) -> tuple[int | None, bool]:
        """Return the layer that hides an entry, None while it is visible, and whether it holds the path anew."""
        hidden = self._hidden[layer][entry]
        return (None, False) if hidden == _NEVER else (~hidden, True) if hidden < 0 else (hidden, False)

    def hidden_in(self, layer: int, entry: int) -> int | None:
        """Return the layer that hides an entry, None while it is visible."""
        return self.hidden_by(layer, entry)[0]

    def visible(self) -> dict[str, FileVersion]:
        """Return the final tree: every visible path but the root, with the entry that makes it.

        A folder that no entry names, only the paths below it, is left out; `implied_folders` gives those.
        """
        tree: dict[str, FileVersion] = {}
        for index, layer in enumerate(self.layers):
            hidden = self._hidden[index]
            for entry, path in enumerate(layer.paths):
                if path and hidden[entry] == _NEVER:
                    tree[path] = FileVersion(index, entry)
        return tree

    def content(self, version: FileVersion) -> FileVersion | None:
        """Follow a hard link to the entry that holds the bytes: in its own layer, else visible below it.

        None where it leads nowhere or to no file.
        """
        links: list[FileVersion] = []
        at: FileVersion | None = version
        # Each link leads to an entry before it: this ends.
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
                hidden = self.hidden_in(layer, entries[-1])  # the layer itself hides those before
                if hidden is None or hidden >= link.layer:
                    return FileVersion(layer, entries[-1])
        return None

    def _targets(self, layer: int) -> dict[str, list[int]]:
        """Return the entries of those paths in a layer that some hard link of the stack names."""
        if self._by_path is None:
            wanted = {
                listing.links[entry]
                for listing in self.layers
                for entry in listing.links
                if listing.kinds[entry] == EntryKind.HARDLINK
            }
            self._by_path = [_positions(listing, wanted) for listing in self.layers]
        return self._by_path[layer]


def _positions(listing: Listing, wanted: set[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    if wanted:
        for entry, path in enumerate(listing.paths):
            if path in wanted:
                found.setdefault(path, []).append(entry)
    return found


class _Above:
    """What the entries handled so far, those of higher layers and later in the same tar, do to the ones below.

    Each map gives the lowest such layer: going down, a later assignment is a lower layer.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}  # holds the path as anything but a folder
        self._folders: dict[str, int] = {}  # holds it as a folder, named or implied by what lies below it
        self._removes: dict[str, int] = {}
        self._empties: dict[str, int] = {}
        self._inside_memo: dict[str, int] = {}  # valid within one layer

    def add_layer(self, index: int, listing: Listing, hidden: array[int]) -> None:
        """Set `hidden` for a layer's entries, then let the layer act on those below."""
        self._inside_memo.clear()
        replaced: list[tuple[dict[str, int], str, int | None]] = []
        for entry in range(len(listing) - 1, -1, -1):
            path, kind = listing.paths[entry], listing.kinds[entry]
            if not path and kind == EntryKind.DIR:
                hidden[entry] = _NEVER
                continue
            if kind == EntryKind.WHITEOUT:
                hidden[entry] = index  # shown by no engine
                if path not in listing.whiteouts:  # a body alone
                    continue
                noted = self._removes  # a device, which takes the place of an entry before it in the tar
            else:
                noted = self._folders if kind == EntryKind.DIR else self._files
                hidden[entry] = by = self._hidden_by(path, kind == EntryKind.DIR)
                if by in (index, ~index):
                    replaced.append((noted, path, noted.get(path)))
            self._note(path, noted, index)
        # What the layer itself replaced acts within the layer, and not on those below.
        for noted, path, before in reversed(replaced):
            if before is None:
                del noted[path]
            else:
                noted[path] = before
        for path in listing.whiteouts:
            self._removes[path] = index
            self._imply_parents(path, index)
        for path in listing.opaque:
            self._empties[path] = index
            self._imply_parents(path + "/", index)

    def _hidden_by(self, path: str, folder: bool) -> int:
        as_file, as_folder = self._files.get(path, _NEVER), self._folders.get(path, _NEVER)
        hidden = min(as_file, self._removes.get(path, _NEVER), self._inside(path.rpartition("/")[0]))
        if not folder:  # a folder over a folder merges
            hidden = min(hidden, as_folder)
        return ~hidden if hidden != _NEVER and hidden in (as_file, as_folder) else hidden

    def _inside(self, folder: str) -> int:
        """Return the lowest layer that hides all that lies in a folder."""
        unknown = []
        while folder and folder not in self._inside_memo:
            unknown.append(folder)
            folder = folder.rpartition("/")[0]
        known = self._inside_memo[folder] if folder else self._empties.get("", _NEVER)
        for path in reversed(unknown):
            known = min(
                known,
                self._files.get(path, _NEVER),
                self._removes.get(path, _NEVER),
                self._empties.get(path, _NEVER),
            )
            self._inside_memo[path] = known
        return known

    def _note(self, path: str, kind: dict[str, int], index: int) -> None:
        kind[path] = index
        if kind is not self._folders and path in self._inside_memo:  # a name that was a folder later in this tar
            self._inside_memo.clear()
        self._imply_parents(path, index)

    def _imply_parents(self, path: str, index: int) -> None:
        """A path's parents are folders: where below one of them is a file or a link, the folder replaces it."""
        parent = path.rpartition("/")[0]
        while parent and self._folders.get(parent) != index:
            self._folders[parent] = index
            parent = parent.rpartition("/")[0]


def implied_folders(tree: dict[str, FileVersion]) -> Iterator[str]:
    """Yield the folders of a tree that no entry names."""
    seen: set[str] = set()
    for path in tree:
        parent = path.rpartition("/")[0]
        while parent and parent not in tree and parent not in seen:
            seen.add(parent)
            yield parent
            parent = parent.rpartition("/")[0]
