"""File trees for people: changes of a layer, or all file versions of an image, with their secrets marked.

A tree is read folder by folder, so that the cost of a page or a screen does not depend on the size of the image:

    FileTrees ─► layer(n), image(), filtered ─► FileTree ─► children(folder, most) ─► FolderNode, FileNode
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.finding import Finding, State
from auditor.core.text import display_path
from auditor.layers.file_history import FileHistory
from auditor.layers.layer_changes import Change, FileChanges, StackChanges


@dataclass(slots=True)
class Totals:
    """Sums of a folder with everything below it.

    `counts` are files by change. `bytes` is the size of its file versions in the tree's layers, `hidden_bytes` of those
    that a layer hides, `deleted_bytes` of the versions in lower layers that the layer deletes. `secrets` are the ids of
    its secrets.
    """

    counts: dict[Change, int] = field(default_factory=lambda: dict.fromkeys(Change, 0))
    bytes: int = 0
    hidden_bytes: int = 0
    deleted_bytes: int = 0
    secrets: set[str] = field(default_factory=set)

    @property
    def files(self) -> int:
        """Number of files."""
        return sum(self.counts.values())

    def add(self, other: Totals) -> None:
        """Add the sums of a folder below."""
        for change, count in other.counts.items():
            self.counts[change] += count
        self.bytes += other.bytes
        self.hidden_bytes += other.hidden_bytes
        self.deleted_bytes += other.deleted_bytes
        self.secrets |= other.secrets


@dataclass(frozen=True, slots=True)
class FolderNode:
    """A folder; one that contains a single folder and nothing else is joined with it.

    `name` is masked. `path`, relative to the root, selects its children.
    """

    name: str
    path: str = field(repr=False)
    totals: Totals


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file with its masked name and path.

    `state` is that of `version` in the image, and `hidden_in` the layer that hides it, None while it is visible.
    `findings` are the secrets in it.
    """

    name: str
    path: str
    change: Change
    size: int
    version: FileVersion
    state: State
    hidden_in: int | None
    findings: tuple[Finding, ...]


Node = FolderNode | FileNode


@dataclass(frozen=True, slots=True)
class Children:
    """Content of a folder: nodes with secrets first, then the largest. `omitted` nodes are left out."""

    nodes: tuple[Node, ...]
    omitted: int


class FileTrees:
    """File trees of an image. `mask` masks the secrets in paths."""

    def __init__(self, history: FileHistory, findings: Iterable[Finding], mask: Callable[[str], str]) -> None:
        self.history, self.mask = history, mask
        self.hidden = [dict(history.hidden_layers(layer)) for layer in range(len(history.layers))]
        """By layer: hidden entries with the layer that hides each."""
        self._changes = StackChanges(history)
        self._findings = defaultdict[FileVersion, list[Finding]](list)
        for finding in findings:
            for version in finding.held_by:
                self._findings[version].append(finding)
        for link in self._links_to_findings():
            self._findings[link] = self._findings[history.content(link) or link]

    def _links_to_findings(self) -> list[FileVersion]:
        """Return the hard links to files with findings."""
        links = (
            FileVersion(layer, entry)
            for layer, listing in enumerate(self.history.layers)
            for entry in listing.links
            if self._findings and listing.kinds[entry] == EntryKind.HARDLINK
        )
        return [link for link in links if self.history.content(link) in self._findings]

    def layer(self, number: int) -> FileTree:
        """Return the tree of the files that a layer adds, overwrites and deletes."""
        return FileTree(self, self._changes.of_layer(number), number, self._named_folders(number))

    def image(self) -> FileTree:
        """Return the tree of all file versions of the image."""
        return FileTree(self, self._changes.of_image(), None, self._named_folders(None))

    def _named_folders(self, layer: int | None) -> dict[str, Sequence[Finding]]:
        """Return the folders of a layer, or of all, with secrets in their own header, such as their name."""
        folders = dict[str, Sequence[Finding]]()
        for version, findings in self._findings.items():
            listing = self.history.layers[version.layer]
            if listing.kinds[version.entry] == EntryKind.DIR and layer in (None, version.layer):
                folders[listing.paths[version.entry]] = findings
        return folders

    def entries_with_findings(self) -> list[set[int]]:
        """Return the entries with findings, by layer."""
        entries = [set[int]() for _ in self.history.layers]
        for version in self._findings:
            entries[version.layer].add(version.entry)
        return entries

    def findings_of(self, version: FileVersion) -> Sequence[Finding]:
        """Return the findings in a file version, those under its path if any are; of a hard link, in its file."""
        found = self._findings.get(version)
        if not found:
            return ()
        path = self.mask(display_path(self.history.layers[version.layer].paths[version.entry]))
        return [finding for finding in found if finding.path in (None, path)] or found


class FileTree:
    """Tree of changed files of one layer, or of all if `layer` is None. Building takes time linear in the files."""

    def __init__(
        self, trees: FileTrees, changes: FileChanges, layer: int | None, named: Mapping[str, Sequence[Finding]]
    ) -> None:
        """`named` are the folders with secrets in their own header."""
        self._trees, self._changes, self.layer, self._named = trees, changes, layer, named
        self._rows = defaultdict[str, list[int]](list)  # files by their folder
        self._folders = defaultdict[str, list[str]](list)  # paths of folders by their parent
        self._totals = defaultdict[str, Totals](Totals)
        for row, path in enumerate(changes.paths):
            self._rows[path.rpartition("/")[0]].append(row)
        for folder in (*self._rows, *named):
            self._link(folder)
        self._sum_files()
        for folder, findings in named.items():
            self._totals[folder].secrets.update(finding.secret_id for finding in findings)
        for folder in sorted(self._totals, key=_depth, reverse=True):
            if folder:
                self._totals[folder.rpartition("/")[0]].add(self._totals[folder])

    def _link(self, folder: str) -> None:
        """Add a folder, and those above it, to their parents."""
        while folder and folder not in self._totals:
            self._totals[folder] = Totals()
            parent = folder.rpartition("/")[0]
            self._folders[parent].append(folder)
            folder = parent

    def _sum_files(self) -> None:
        """Add every file to the sums of its folder. The loop runs a million times for some images."""
        history, changes, own = self._trees.history, self._changes, self.layer
        sizes = [listing.sizes for listing in history.layers]
        hidden, flagged = self._trees.hidden, self._trees.entries_with_findings()
        for folder, rows in self._rows.items():
            totals = self._totals[folder]
            for row in rows:
                layer, entry = changes.layers[row], changes.entries[row]
                hidden_in = hidden[layer].get(entry)
                if entry in flagged[layer]:
                    findings = self._trees.findings_of(changes.version(row))
                    totals.secrets.update(finding.secret_id for finding in findings)
                if own is not None and layer != own:
                    totals.deleted_bytes += sizes[layer][entry]
                else:
                    totals.bytes += sizes[layer][entry]
                    if hidden_in is not None:
                        totals.hidden_bytes += sizes[layer][entry]
                if hidden_in is None or not hidden_in == layer == own:
                    totals.counts[changes.change(row)] += 1

    @property
    def totals(self) -> Totals:
        """Sums of the whole tree. An entry that a later one of its tar overwrites is not counted as added."""
        return self._totals[""]

    def filtered(self, text: str) -> FileTree:
        """Return the tree of the files with a text in their path; case is ignored."""
        named = {folder: findings for folder, findings in self._named.items() if text.lower() in folder.lower()}
        return FileTree(self._trees, self._changes.matching(text), self.layer, named)

    def children(self, folder: str, most: int) -> Children:
        """Return up to `most` nodes of a folder; "" is the root."""
        folders = self._folders.get(folder, ())
        items = [*map(self._folder_order, folders), *map(self._file_order, self._rows.get(folder, ()))]
        chosen = heapq.nsmallest(most, items)
        prefix = self._shown(folder) if folder else "/"
        nodes = [self._folder(path, prefix) if row is None else self._file(row, prefix) for *_, path, row in chosen]
        return Children(tuple(nodes), len(items) - len(nodes))

    def _folder_order(self, path: str) -> tuple[bool, int, str, int | None]:
        totals = self._totals[path]
        return (not totals.secrets, -totals.bytes - totals.deleted_bytes, path, None)

    def _file_order(self, row: int) -> tuple[bool, int, str, int | None]:
        version = self._changes.version(row)
        return (not self._trees.findings_of(version), -self._size(version), self._changes.paths[row], row)

    def _size(self, version: FileVersion) -> int:
        return self._trees.history.layers[version.layer].sizes[version.entry]

    def _folder(self, path: str, prefix: str) -> FolderNode:
        totals = self._totals[path]
        while not self._rows.get(path) and len(self._folders.get(path, ())) == 1:
            path = self._folders[path][0]
        return FolderNode(_below(prefix, self._shown(path)), path, totals)

    def _file(self, row: int, prefix: str) -> FileNode:
        version, path = self._changes.version(row), self._shown(self._changes.paths[row])
        hidden_in, is_overwritten = self._trees.history.hidden_by(version.layer, version.entry)
        state = State.PRESENT if hidden_in is None else State.OVERWRITTEN if is_overwritten else State.DELETED
        return FileNode(
            _below(prefix, path),
            path,
            self._changes.change(row),
            self._size(version),
            version,
            state,
            hidden_in,
            tuple(self._trees.findings_of(version)),
        )

    def _shown(self, path: str) -> str:
        return self._trees.mask(display_path(path))


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0


def _below(prefix: str, path: str) -> str:
    """Return a path relative to its folder; a mask that spans several names of it is shown whole."""
    head = prefix if prefix.endswith("/") else prefix + "/"
    return path.removeprefix(head) or path
