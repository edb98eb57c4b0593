"""On which lines of a YAML file the items of its list and their keys stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines, from 1, of one item of a list: of the item itself, and by (key, number in the key's list or None)."""

    first: int
    keys: dict[tuple[str, int | None], int]

    def of(self, key: str | None = None, item: int | None = None) -> int:
        """Return the line of a key, or of an item in the key's list; the first line where there is none."""
        for place in ((key, item), (key, None)):
            if key is not None and place in self.keys:
                return self.keys[place]
        return self.first


def lines(data: bytes) -> list[Lines]:
    """Return the lines of each item of the list that a YAML document is; nothing where it is no list."""
    root = yaml.compose(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [_lines(node) for node in root.value] if isinstance(root, yaml.SequenceNode) else []


def _lines(node: Any) -> Lines:
    keys: dict[tuple[str, int | None], int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        keys[str(key.value), None] = key.start_mark.line + 1
        for number, item in enumerate(value.value if isinstance(value, yaml.SequenceNode) else ()):
            keys[str(key.value), number] = item.start_mark.line + 1
    return Lines(node.start_mark.line + 1, keys)
