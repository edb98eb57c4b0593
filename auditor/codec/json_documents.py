"""JSON documents of an image, which may be hostile: how large, how deep, how many values.

Engines are written in Go, whose decoder takes a key in any case (`LAYERS`) and the last of several that are equal so.
`spelled` reads keys like that; a key that stands twice with two values is refused, for readers disagree on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits, limit_note

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, what: str, limits: Limits, *, first: bool = False) -> Any:
    """Parse one document, with `first` the first of several. Raises Damaged on bad JSON, and on too much of it."""
    if len(data) > limits.json_bytes:
        raise Damaged(f"{what}: {len(data)} bytes are no sensible JSON document {limit_note('json-bytes')}")
    if values(data) > limits.json_values:
        raise Damaged(f"{what}: more than {limits.json_values} values in a JSON document {limit_note('json-values')}")
    try:
        value = _loads(data, first=first)
    except RecursionError:
        raise Damaged(f"{what}: JSON nested beyond all reason {limit_note('json-depth')}") from None
    except ValueError as exc:
        raise Damaged(f"{what}: not JSON: {exc}") from None
    if _is_deeper(value, limits.json_depth):
        raise Damaged(f"{what}: JSON nested more than {limits.json_depth} deep {limit_note('json-depth')}")
    return value


def values(data: bytes) -> int:
    """Return how many values a document has at most: each stands behind a comma or within a bracket.

    Parsed, a value takes some 70 bytes, and 230 at worst.
    """
    return sum(map(data.count, (b",", b"[", b"{")))


def _loads(data: bytes, *, first: bool) -> Any:
    r"""Parse JSON; half a surrogate, which `\ud800` alone makes, is no character and becomes a question mark."""
    text = data.decode(json.detect_encoding(data), "replace" if first else "strict")
    value = _DECODER.raw_decode(text.lstrip())[0] if first else _DECODER.decode(text)
    if _SURROGATE.search(data):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object. Raises ValueError where a key has two values."""
    value = dict(pairs)
    if len(value) < len(pairs):
        for key, item in pairs:
            if item != value[key]:
                raise ValueError(f"the key {key!r:.100} stands twice, with two values")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def canonical_keys(value: Mapping[str, Any], names: Mapping[str, str], what: str) -> dict[str, Any]:
    """Return an object with its keys as `names` spells them, by their folded form. Raises Damaged where two collide."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = names.get(key.casefold(), key)
        if name in found and found[name] != item:
            raise Damaged(f"{what}: the key {name!r:.100} stands twice, in another case")
        found[name] = item
    return found


def key_names(*names: str) -> dict[str, str]:
    """Return names by their folded form, for `spelled`."""
    return {name.casefold(): name for name in names}


def _is_deeper(value: Any, most: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        if not level:
            return False
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for some in children for child in some if isinstance(child, dict | list)]
    return bool(level)


def parse_object(data: bytes, what: str, limits: Limits) -> dict[str, Any]:
    """Parse a document that is a JSON object. Raises Damaged on anything else."""
    value = parse_json(data, what, limits)
    if not isinstance(value, dict):
        raise Damaged(f"{what}: want a JSON object")
    return value


def parse_json_or_none(document: bytes, limits: Limits) -> Any:
    """Parse what may be no JSON; None where it is none, or beyond the limits."""
    try:
        return parse_json(document, "", limits)
    except Damaged:
        return None


class JsonDocuments(Mapping[str, Any]):
    """JSON documents by name. Each is parsed when it is asked for: together they would take a lot of memory."""

    def __init__(self, data: Mapping[str, bytes] | None = None, limits: Limits = DEFAULT) -> None:
        self._data, self._limits = dict(data or {}), limits

    def __getitem__(self, name: str) -> Any:
        return parse_json(self._data[name], name, self._limits)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return "Documents()"

    def joined(self, data: Mapping[str, bytes]) -> JsonDocuments:
        """Return these and others."""
        return JsonDocuments({**self._data, **data}, self._limits)


class DocumentBudget:
    """Counts what the documents of one target come to, which may be many."""

    def __init__(self, what: str, limits: Limits) -> None:
        self._what, self._limits = what, limits
        self._bytes = self._values = 0

    def take(self, data: bytes, *, parsed: bool = False) -> bytes:
        """Count a document, which may stay in memory `parsed`. Raises Damaged where they are too many."""
        self._bytes += len(data)
        if self._bytes > self._limits.json_total:
            most = self._limits.json_total
            raise Damaged(f"{self._what}: more than {most} bytes of JSON documents {limit_note('json-total')}")
        self._values += values(data) if parsed else 0
        if self._values > self._limits.json_values:
            most = self._limits.json_values
            raise Damaged(f"{self._what}: more than {most} values in its configs {limit_note('json-values')}")
        return data
