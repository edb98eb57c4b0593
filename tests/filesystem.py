"""A plain model of what engines do with layers: each is unpacked over the last, and what is lost is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.images import Item


@dataclass
class Model:
    """Paths of the file system, each with the number of the write that made it."""

    tree: dict[str, tuple[str, int]] = field(default_factory=dict)  # path -> kind, write
    lost: dict[int, int] = field(default_factory=dict)  # write -> the layer that hid it
    writes: int = 0

    def _drop(self, path: str, layer: int) -> None:
        for victim in [p for p in self.tree if p == path or p.startswith(path + "/")]:
            self.lost[self.tree.pop(victim)[1]] = layer

    def _parents(self, path: str, layer: int) -> None:
        parts = path.split("/")[:-1]
        for at in range(1, len(parts) + 1):
            parent = "/".join(parts[:at])
            if parent in self.tree and self.tree[parent][0] != "folder":
                self._drop(parent, layer)
            self.tree.setdefault(parent, ("folder", -1))

    def apply(self, layer: int, items: Sequence[Item]) -> list[int]:
        """Unpack one layer; return the write of each item, -1 for whiteouts."""
        # Whiteouts act on lower layers alone, whatever their place in the tar.
        for item in items:
            folder, _, name = item.path.rpartition("/")
            if name == ".wh..wh..opq":
                for victim in [p for p in self.tree if p.startswith(folder + "/") or not folder]:
                    self.lost[self.tree.pop(victim)[1]] = layer
                self._parents(folder + "/x" if folder else "x", layer)
            elif name.startswith(".wh."):
                path = f"{folder}/{name[4:]}" if folder else name[4:]
                self._drop(path, layer)
                self._parents(path, layer)
        return [self._write(layer, item) for item in items]

    def _write(self, layer: int, item: Item) -> int:
        if item.path.rpartition("/")[2].startswith(".wh."):
            return -1
        self.writes += 1
        kind = "folder" if item.type == b"5" else "file"
        self._parents(item.path, layer)
        old = self.tree.get(item.path)
        if old and not (kind == old[0] == "folder"):
            self._drop(item.path, layer)
        self.tree[item.path] = (kind, self.writes)
        return self.writes
