"""Commit and path of the blobs of a git repository, from its commits and trees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field

from auditor.core.dataclass import dataclass

SHORT = 12
"""Hex digits of an object's name in a member's name."""

_MAX_BYTES = 64 << 20
_MAX_PATH = 4096
_MAX_DEPTH = 256
_COMMITTED = re.compile(rb"^committer .* (\d{1,12}) [+-]\d{4}$", re.M)
_TREE = re.compile(rb"tree ([0-9a-f]{40})\n")


@dataclass(slots=True)
class CommitHistory:
    """Commits and trees of a repository, at most 64 MiB, added in any order."""

    _commits: list[tuple[int, str, str]] = field(default_factory=list)  # minus the time in seconds, name, tree
    _trees: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    """Bytes of the commits and trees."""
    full: bool = False
    """Whether objects were left out, so that paths may be missing."""

    def add(self, kind: str, name: str, data: bytes) -> None:
        """Add a commit or a tree by its name in hex; other kinds are ignored."""
        if kind not in ("commit", "tree"):
            return
        if self.size > _MAX_BYTES:
            self.full = True
            return
        self.size += len(data) if kind == "tree" else 200
        if kind == "tree":
            self._trees[name] = data
        elif tree := _TREE.match(data):
            when = _COMMITTED.search(data)
            self._commits.append((-int(when[1]) if when else 0, name, tree[1].decode()))

    def append(self, other: CommitHistory) -> None:
        """Add the commits and trees of another history of the same repository, all or none."""
        if self.size > _MAX_BYTES:
            self.full = True
            return
        self._commits += other._commits
        self._trees |= other._trees
        self.size += other.size
        self.full |= other.full

    def blob_paths(self) -> dict[str, str]:
        """Return the newest commit and the path of each blob by its name in hex: `commit 1a2b3c…:config/.env`."""
        found: dict[str, str] = {}
        walked: set[str] = set()
        size = 0
        for _, commit, root in sorted(self._commits):
            for name, path in self._walk(root, walked):
                if name not in found:
                    found[name] = f"commit {commit[:SHORT]}:{path}"
                    size += len(path) + 100
                if size > _MAX_BYTES:
                    self.full = True
                    return found
        return found

    def _walk(self, root: str, walked: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the blobs of a tree and their paths, without subtrees that are in `walked`."""
        pending = [(root, "", 0)]
        while pending:
            tree, folder, depth = pending.pop()
            if tree in walked or depth > _MAX_DEPTH or len(folder) > _MAX_PATH:
                continue
            walked.add(tree)
            for is_tree, entry, name in _entries(self._trees.get(tree, b"")):
                if is_tree:
                    pending.append((name, f"{folder}{entry}/", depth + 1))
                else:
                    yield name, folder + entry


def _entries(tree: bytes) -> Iterator[tuple[bool, str, str]]:
    """Yield the entries of a tree object, each `MODE NAME`, a zero byte and the 20 bytes of an object's name."""
    at = 0
    while at < len(tree):
        zero = tree.find(b"\0", at)
        mode, _, entry = tree[at:zero].partition(b" ")
        if zero < 0 or zero + 21 > len(tree):
            return
        yield mode == b"40000", entry.decode("utf-8", "surrogateescape"), tree[zero + 1 : zero + 21].hex()
        at = zero + 21
