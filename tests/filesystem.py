"""A plain model of what engines do with layers: each is unpacked by itself, and laid over those below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.images import Item

Tree = dict[str, tuple[str, int]]
"""By path its kind, and the number of the write that made it."""


@dataclass
class Model:
    """Paths of the file system, and what is lost of it."""

    tree: Tree = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)  # write -> the layer that hid it
    writes: int = 0

    def _drop(self, tree: Tree, path: str, layer: int, *, inside: bool = False) -> None:
        for victim in [p for p in tree if (p == path and not inside) or p.startswith(path + "/")]:
            self.lost[tree.pop(victim)[1]] = layer

    def _parents(self, tree: Tree, path: str, layer: int) -> None:
        parts = path.split("/")[:-1]
        for at in range(1, len(parts) + 1):
            parent = "/".join(parts[:at])
            if parent in tree and tree[parent][0] != "folder":
                self._drop(tree, parent, layer)
            tree.setdefault(parent, ("folder", -1))

    def apply(self, layer: int, items: Sequence[Item]) -> list[int]:
        """Unpack one layer; return the write of each item, -1 for whiteouts."""
        own: Tree = {}
        gone: set[str] = set()
        emptied: set[str] = set()
        writes = []
        for item in items:
            folder, _, name = item.path.rpartition("/")
            if name == ".wh..wh..opq":
                emptied |= {folder} if folder and folder not in gone else set()
                writes.append(-1)
            elif name.startswith(".wh."):
                gone.add(f"{folder}/{name[4:]}" if folder else name[4:])
                writes.append(-1)
            else:
                writes.append(self._write(own, layer, item))
                gone -= {item.path} if item.type == b"5" else set()
        for path in gone:
            self._drop(self.tree, path, layer)
            self._parents(self.tree, path, layer)
        for folder in emptied:
            self._drop(self.tree, folder, layer, inside=True)
            self._parents(self.tree, folder + "/x", layer)
        for path, (kind, write) in own.items():
            self._parents(self.tree, path, layer)
            if path in self.tree and not kind == self.tree[path][0] == "folder":
                self._drop(self.tree, path, layer)
            if write > 0 or path not in self.tree:
                self.tree[path] = kind, write
        return writes

    def _write(self, own: Tree, layer: int, item: Item) -> int:
        self.writes += 1
        kind = "folder" if item.type == b"5" else "file"
        self._parents(own, item.path, layer)
        old = own.get(item.path)
        if old and not (kind == old[0] == "folder"):
            self._drop(own, item.path, layer)
        own[item.path] = (kind, self.writes)
        return self.writes
