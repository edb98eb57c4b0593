"""Which commit and path a blob of a git repository had: commits and trees walked from the newest commit on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

SHORT = 12
"""Hex digits of an object's name that are shown."""

_HELD = 64 << 20
_MAX_PATH = 4096
_MAX_DEPTH = 256
_COMMITTED = re.compile(rb"^committer .* (\d{1,12}) [+-]\d{4}$", re.M)
_TREE = re.compile(rb"tree ([0-9a-f]{40})\n")


@dataclass(slots=True)
class CommitHistory:
    """Commits and trees of a repository, at most 64 MiB; objects may come in any order, from packs and loose ones."""

    _commits: list[tuple[int, str, str]] = field(default_factory=list)  # minus the time in seconds, name, tree
    _trees: dict[str, bytes] = field(default_factory=dict)
    held: int = 0
    """Bytes of the commits and trees."""
    full: bool = False
    """Whether something did not fit; some paths may then be missing."""

    def add(self, kind: str, name: str, data: bytes) -> None:
        """Take a commit or a tree, by its name in hex; anything else is ignored."""
        if kind not in ("commit", "tree"):
            return
        if self.held > _HELD:
            self.full = True
            return
        self.held += len(data) if kind == "tree" else 200
        if kind == "tree":
            self._trees[name] = data
        elif tree := _TREE.match(data):
            when = _COMMITTED.search(data)
            self._commits.append((-int(when[1]) if when else 0, name, tree[1].decode()))

    def blob_paths(self) -> dict[str, str]:
        """Return, by name in hex, each blob's place in the newest commit that has it: `commit 1a2b3c…:config/.env`."""
        found: dict[str, str] = {}
        seen: set[str] = set()
        held = 0
        for _, commit, root in sorted(self._commits):
            for name, path in self._walk(root, seen):
                if name not in found:
                    found[name] = f"commit {commit[:SHORT]}:{path}"
                    held += len(path) + 100
                if held > _HELD:
                    self.full = True
                    return found
        return found

    def _walk(self, root: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """Yield blobs and paths of a tree, but of the trees that were seen before."""
        waiting = [(root, "", 0)]
        while waiting:
            tree, folder, depth = waiting.pop()
            if tree in seen or depth > _MAX_DEPTH or len(folder) > _MAX_PATH:
                continue
            seen.add(tree)
            for is_tree, entry, name in _entries(self._trees.get(tree, b"")):
                if is_tree:
                    waiting.append((name, f"{folder}{entry}/", depth + 1))
                else:
                    yield name, folder + entry


def _entries(tree: bytes) -> Iterator[tuple[bool, str, str]]:
    """Yield the entries of a tree object: `MODE NAME`, a zero byte, 20 bytes of the object's name."""
    at = 0
    while at < len(tree):
        zero = tree.find(b"\0", at)
        mode, _, entry = tree[at:zero].partition(b" ")
        if zero < 0 or zero + 21 > len(tree):
            return
        yield mode == b"40000", entry.decode("utf-8", "surrogateescape"), tree[zero + 1 : zero + 21].hex()
        at = zero + 21
