"""YAML files written by people: typed access to values, with errors at the line of the value."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.nodes import Node as YamlNode

from auditor.core.errors import ConfigError
from auditor.core.text import nearest

_MAX_FILE = 16 << 20


class YamlValue:
    """Value of a YAML file, named by its keys, such as `exclude.paths`.

    The methods raise ConfigError, `file:line: key: expected …`, on a value of another type.
    """

    __slots__ = ("_node", "_path", "line", "name")

    def __init__(self, node: YamlNode, path: Path, name: str = "", key: YamlNode | None = None) -> None:
        """The line is that of the key, if there is one."""
        self._node, self._path, self.name = node, path, name
        self.line = int((key or node).start_mark.line) + 1

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self._path}:{self.line}"

    def named(self, name: str) -> YamlValue:
        """Return the same value under another name for messages."""
        copy = YamlValue(self._node, self._path, name)
        copy.line = self.line
        return copy

    def fail(self, message: str) -> NoReturn:
        """Raise ConfigError at this value."""
        raise ConfigError(f"{self.place}: {self.name + ': ' if self.name else ''}{message}")

    def mapping(self, known: Sequence[str] = ()) -> dict[str, YamlValue]:
        """Return the values by key, without empty ones. Only `known` keys are allowed, unless it is empty."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail("expected a mapping of keys")
        found: dict[str, YamlValue] = {}
        for key_node, value_node, merged in self._pairs():
            key = str(key_node.value)
            at_key = YamlValue(key_node, self._path, self.name)
            if known and key not in known:
                near = nearest(key, known)
                at_key.fail(f"unknown key {key!r}{near}{' Known' if near else '; known'} keys: {', '.join(known)}")
            if key in found and merged:
                continue
            if key in found:
                at_key.fail(f"{key} is set twice, first on line {found[key].line}")
            found[key] = YamlValue(value_node, self._path, f"{self.name}.{key}" if self.name else key, key_node)
        return {key: node for key, node in found.items() if node.scalar() is not None}

    def _pairs(self) -> Iterator[tuple[YamlNode, YamlNode, bool]]:
        """Yield keys and values, and whether they are merged by `<<: *anchor`: these last, and once per anchor."""
        waiting, seen = [self._node], set[int]()
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, yaml.ScalarNode):
                self.fail("expected mappings after <<")
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

    def items(self) -> list[YamlValue]:
        """Return the values of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail("expected a list")
        return [YamlValue(item, self._path, f"{self.name}[{number}]") for number, item in enumerate(self._node.value)]

    def scalar(self) -> Any:
        """Return a scalar; an empty text for a list or a mapping."""
        if not isinstance(self._node, yaml.ScalarNode):
            return ""
        if self._node.tag == "tag:yaml.org,2002:str":  # most values; a loader for each would take 20 us
            return self._node.value
        try:
            return yaml.SafeLoader("").construct_object(self._node)
        except (yaml.YAMLError, ValueError):
            self.fail(f"{self._node.value!r:.100} is not a valid scalar")

    def value(self) -> Any:
        """Return the value as Python data: dictionaries, lists and scalars."""
        try:
            return yaml.SafeLoader("").construct_document(self._node)
        except (yaml.YAMLError, ValueError, RecursionError):
            self.fail("can't be read")

    def text(self, *, empty: bool = False) -> str:
        """Return a text, which may be empty only with `empty`."""
        value = self.scalar()
        if not isinstance(value, str) or not (value or empty):
            self.fail("expected a text")
        return value

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(item.text() for item in self.items())

    def one_of(self, allowed: Sequence[str]) -> str:
        """Return a word of a fixed set."""
        value = self.scalar()
        if value not in allowed:
            found = f"{value!r:.100}" if isinstance(self._node, yaml.ScalarNode) else "a list or a mapping"
            self.fail(f"{found} is not one of {', '.join(allowed)}{nearest(str(value), allowed)}")
        return str(value)

    def count(self, most: int | None = None) -> int:
        """Return a whole number from 1, up to `most` if there is a limit."""
        value = self.scalar()
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most is not None and value > most):
            self.fail(f"expected a whole number from 1{'' if most is None else f' to {most}'}")
        return value

    def flag(self) -> bool:
        """Return true or false."""
        value = self.scalar()
        if not isinstance(value, bool):
            self.fail("expected true or false")
        return value

    def date(self) -> datetime.date:
        """Return a date, written as 2026-12-31."""
        value = self.scalar()
        try:
            value = datetime.date.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            value = None
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            self.fail("expected a date such as 2026-12-31")
        return value


def dump_yaml(document: object) -> str:
    """Return a document as YAML: keys in their order, lines of up to 120 characters, no anchors."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, _: object) -> bool:
        return True  # equal dates would share an anchor


def load_yaml(path: Path) -> YamlValue | None:
    """Read a file; None if it is empty. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
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
    root = YamlValue(node, path) if node is not None else None
    return root if root is not None and root.scalar() is not None else None
