"""YAML files that people write: values that know the line they stand on, and say there what is wrong with them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from auditor.core.errors import ConfigError

if TYPE_CHECKING:
    from yaml.nodes import Node as YamlNode

_MAX_FILE = 16 << 20


class Node:
    """A value of a YAML file, and the keys that lead to it, as `exclude.paths`.

    What asks for a kind of value raises ConfigError, `file:line: key: what is wrong`, where it is another.
    """

    __slots__ = ("_node", "_path", "line", "name")

    def __init__(self, node: YamlNode, path: Path, name: str = "", key: YamlNode | None = None) -> None:
        """`key` is what the value belongs to: its line counts."""
        self._node, self._path, self.name = node, path, name
        self.line = int((key or node).start_mark.line) + 1

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self._path}:{self.line}"

    def fail(self, message: str) -> NoReturn:
        """Raise ConfigError at this value."""
        raise ConfigError(f"{self.place}: {self.name + ': ' if self.name else ''}{message}")

    def mapping(self, known: Sequence[str] = ()) -> dict[str, Node]:
        """Return the values by their keys, of which `known` are allowed, all where it is empty.

        A key without a value is left out, as if it were not there.
        """
        import yaml

        if not isinstance(self._node, yaml.MappingNode):
            self.fail("want a mapping of keys")
        found: dict[str, Node] = {}
        for key_node, value_node, merged in self._pairs():
            key = str(key_node.value)
            at_key = Node(key_node, self._path, self.name)
            if known and key not in known:
                at_key.fail(f"unknown key {key!r}{_nearest(key, known)}; known are {', '.join(known)}")
            if key in found and merged:
                continue
            if key in found:
                at_key.fail(f"{key} is given twice, first on line {found[key].line}")
            found[key] = Node(value_node, self._path, f"{self.name}.{key}" if self.name else key, key_node)
        return {key: node for key, node in found.items() if node.scalar() is not None}

    def _pairs(self) -> Iterator[tuple[YamlNode, YamlNode, bool]]:
        """Yield keys and values, and whether `<<: *anchor` merges them in: those come last, of each anchor once."""
        import yaml

        waiting, seen = [self._node], set[int]()
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, yaml.ScalarNode):
                self.fail("want mappings after <<")
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                waiting = [*node.value, *waiting]
                continue
            for key, value in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    waiting.append(value)
                else:
                    yield key, value, node is not self._node

    def items(self) -> list[Node]:
        """Return the values of a list."""
        import yaml

        if not isinstance(self._node, yaml.SequenceNode):
            self.fail("want a list")
        return [Node(item, self._path, f"{self.name}[{number}]") for number, item in enumerate(self._node.value)]

    def scalar(self) -> Any:
        """Return a plain value; an empty text for a list or a mapping, which are none."""
        import yaml

        if not isinstance(self._node, yaml.ScalarNode):
            return ""
        try:
            return yaml.SafeLoader("").construct_object(self._node)
        except (yaml.YAMLError, ValueError):
            self.fail(f"{self._node.value!r:.100} can't be read")

    def text(self, *, empty: bool = False) -> str:
        """Return a text, which may not be empty unless that is said."""
        value = self.scalar()
        if not isinstance(value, str) or not (value or empty):
            self.fail("want a text")
        return value

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(item.text() for item in self.items())

    def one_of(self, allowed: Sequence[str]) -> str:
        """Return one of some words."""
        value = self.scalar()
        if value not in allowed:
            near = _nearest(str(value), allowed)
            self.fail(f"{value!r:.100} is none of {', '.join(allowed)}{near}")
        return str(value)

    def count(self) -> int:
        """Return a whole number from 1."""
        value = self.scalar()
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.fail("want a whole number from 1")
        return value

    def flag(self) -> bool:
        """Return true or false."""
        value = self.scalar()
        if not isinstance(value, bool):
            self.fail("want true or false")
        return value

    def date(self) -> datetime.date:
        """Return a day, written as 2026-12-31."""
        value = self.scalar()
        try:
            value = datetime.date.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            value = None
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            self.fail("want a date, as 2026-12-31")
        return value


def load(path: Path) -> Node | None:
    """Read a file; None where it says nothing. Raises ConfigError."""
    import yaml

    try:
        data = path.read_bytes()[: _MAX_FILE + 1]
    except OSError as exc:
        raise ConfigError(f"{path}: can't be read: {exc.strerror}") from exc
    if len(data) > _MAX_FILE:
        raise ConfigError(f"{path}: larger than {_MAX_FILE} bytes")
    try:
        node = yaml.compose(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as exc:
        line = f":{exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise ConfigError(f"{path}{line}: not YAML: {exc.problem or exc.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ConfigError(f"{path}: not YAML: {exc}") from None
    root = Node(node, path) if node is not None else None
    return root if root is not None and root.scalar() is not None else None


def _nearest(word: str, known: Iterable[str]) -> str:
    from auditor.core.text import nearest

    return nearest(word, known)
