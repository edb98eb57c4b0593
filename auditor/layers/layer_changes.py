"""Files that each layer of a stack adds, overwrites and deletes, in columns: an image may have a million of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum

from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.file_history import FileHistory


class Change(StrEnum):
    """Effect of a layer on a path; in the tree of a whole image, the state of a file version."""

    ADDED = "added"
    OVERWRITTEN = "overwritten"
    DELETED = "deleted"
    PRESENT = "present"


_CHANGES = tuple(Change)
_ADDED, _OVERWRITTEN, _DELETED, _PRESENT = range(len(_CHANGES))


@dataclass(slots=True)
class FileChanges:
    """Changed files, without folders: row `i` of each column.

    The file version of a row is the entry that a layer adds, or the entry of a lower layer that it deletes. A folder
    that replaces a file has a row OVERWRITTEN with the version of that file.
    """

    paths: list[str] = field(default_factory=list)
    layers: array[int] = field(default_factory=lambda: array("i"))
    entries: array[int] = field(default_factory=lambda: array("i"))
    _changes: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.paths)

    def version(self, row: int) -> FileVersion:
        """Return the file version of a row."""
        return FileVersion(self.layers[row], self.entries[row])

    def change(self, row: int) -> Change:
        """Return the change of a row."""
        return _CHANGES[self._changes[row]]

    def matching(self, text: str) -> FileChanges:
        """Return the rows with a text in their path; case is ignored."""
        found, wanted = FileChanges(), text.lower()
        for row, path in enumerate(self.paths):
            if wanted in path.lower():
                found._add(path, self.layers[row], self.entries[row], self._changes[row])
        return found

    def _add(self, path: str, layer: int, entry: int, change: int) -> None:
        self.paths.append(path)
        self.layers.append(layer)
        self.entries.append(entry)
        self._changes.append(change)


class StackChanges:
    """Changes of a stack of layers."""

    def __init__(self, history: FileHistory) -> None:
        self._history = history
        self._hidden: tuple[FileChanges, ...] = tuple(FileChanges() for _ in history.layers)
        """By layer: files of lower layers that the layer hides."""
        for layer in range(len(history.layers)):
            for entry, by in history.hidden_layers(layer):
                if by != layer and history.layers[layer].kinds[entry] != EntryKind.DIR:
                    _, is_overwritten = history.hidden_by(layer, entry)
                    path = history.layers[layer].paths[entry]
                    self._hidden[by]._add(path, layer, entry, _OVERWRITTEN if is_overwritten else _DELETED)

    def of_layer(self, layer: int) -> FileChanges:
        """Return the changes of a layer. Of two entries of one path in its tar, the earlier counts as added."""
        hidden, found = self._hidden[layer], FileChanges()
        replaced = {hidden.paths[row]: row for row, change in enumerate(hidden._changes) if change == _OVERWRITTEN}
        for entry, path in self._files(layer):
            is_replacing = path in replaced and self._history.hidden_in(layer, entry) != layer
            if is_replacing:
                del replaced[path]
            found._add(path, layer, entry, _OVERWRITTEN if is_replacing else _ADDED)
        for row, path in enumerate(hidden.paths):
            if hidden._changes[row] == _DELETED or path in replaced:
                found._add(path, hidden.layers[row], hidden.entries[row], hidden._changes[row])
        return found

    def of_image(self) -> FileChanges:
        """Return every file version of the image with its state."""
        found = FileChanges()
        for layer in range(len(self._history.layers)):
            for entry, path in self._files(layer):
                by, is_overwritten = self._history.hidden_by(layer, entry)
                found._add(path, layer, entry, _PRESENT if by is None else _OVERWRITTEN if is_overwritten else _DELETED)
        return found

    def _files(self, layer: int) -> Iterator[tuple[int, str]]:
        """Yield the entries of a layer that are no folders, without whiteouts that have no body."""
        listing = self._history.layers[layer]
        for entry, (path, kind) in enumerate(zip(listing.paths, listing.kinds, strict=True)):
            if kind != EntryKind.DIR and (kind != EntryKind.WHITEOUT or listing.sizes[entry]):
                yield entry, path
