"""JSON documents of images, parsed with limits of size, depth and number of values.

Engines are written in Go, whose decoder accepts a key in any case (`LAYERS`), and of equal keys takes the last.
`canonical_keys` does the same, but refuses a key with two different values, because engines disagree on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits, limit_note

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, label: str, limits: Limits, *, first: bool = False) -> Any:
    """Parse a document; with `first`, ignore text behind it. Raises Damaged on invalid JSON and above limits."""
    if len(data) > limits.json_bytes:
        raise Damaged(f"{label}: {len(data)} bytes are too many for a JSON document {limit_note('json-bytes')}")
    if values(data) > limits.json_values:
        raise Damaged(f"{label}: more than {limits.json_values} values in a JSON document {limit_note('json-values')}")
    try:
        value = _loads(data, first=first)
    except RecursionError:
        raise Damaged(f"{label}: JSON is nested too deeply {limit_note('json-depth')}") from None
    except ValueError as exc:
        raise Damaged(f"{label}: not JSON: {exc}") from None
    if _is_deeper(value, limits.json_depth):
        raise Damaged(f"{label}: JSON nested more than {limits.json_depth} deep {limit_note('json-depth')}")
    return value


def values(data: bytes) -> int:
    """Return the maximum number of values in a document: each is behind a comma or an opening bracket.

    A parsed value takes about 70 bytes, at most 230.
    """
    return sum(map(data.count, (b",", b"[", b"{")))


def _loads(data: bytes, *, first: bool) -> Any:
    r"""Parse JSON. A lone surrogate (`\ud800`) is no character and becomes a question mark."""
    text = data.decode(json.detect_encoding(data), "replace" if first else "strict")
    value = _DECODER.raw_decode(text.lstrip())[0] if first else _DECODER.decode(text)
    if _SURROGATE.search(data):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. Raises ValueError where a key has two different values."""
    value = dict(pairs)
    if len(value) < len(pairs):
        for key, item in pairs:
            if item != value[key]:
                raise ValueError(f"the key {key!r:.100} occurs twice, with different values")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def canonical_keys(value: Mapping[str, Any], names: Mapping[str, str], label: str) -> dict[str, Any]:
    """Return an object with its keys in the case of `names`. Raises Damaged where keys with other values collide."""
    canonical: dict[str, Any] = {}
    for key, item in value.items():
        name = names.get(key.casefold(), key)
        if name in canonical and canonical[name] != item:
            raise Damaged(f"{label}: the key {name!r:.100} occurs twice, in different case")
        canonical[name] = item
    return canonical


def key_names(*names: str) -> dict[str, str]:
    """Return names by their case-folded form, for `canonical_keys`."""
    return {name.casefold(): name for name in names}


def _is_deeper(value: Any, most: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        if not level:
            return False
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for some in children for child in some if isinstance(child, dict | list)]
    return bool(level)


def parse_object(data: bytes, label: str, limits: Limits) -> dict[str, Any]:
    """Parse a document that is a JSON object. Raises Damaged on anything else."""
    value = parse_json(data, label, limits)
    if not isinstance(value, dict):
        raise Damaged(f"{label}: expected a JSON object")
    return value


def parse_json_or_none(document: bytes, limits: Limits) -> Any:
    """Parse a document; None where it is not JSON, or beyond the limits."""
    try:
        return parse_json(document, "", limits)
    except Damaged:
        return None


class JsonDocuments(Mapping[str, Any]):
    """JSON documents by name. Each is parsed on access, because all together take much memory."""

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
        """Return these documents and others."""
        return JsonDocuments({**self._data, **data}, self._limits)


class DocumentBudget:
    """Limits on the bytes and values of all documents of one target."""

    def __init__(self, label: str, limits: Limits) -> None:
        self._label, self._limits = label, limits
        self._bytes = self._values = 0

    def add(self, data: bytes, *, parsed: bool = False) -> bytes:
        """Count a document and return it. Values count where it stays in memory `parsed`. Raises Damaged."""
        self._bytes += len(data)
        if self._bytes > self._limits.json_total:
            most = self._limits.json_total
            raise Damaged(f"{self._label}: more than {most} bytes of JSON documents {limit_note('json-total')}")
        self._values += values(data) if parsed else 0
        if self._values > self._limits.json_values:
            most = self._limits.json_values
            raise Damaged(f"{self._label}: more than {most} values in its configs {limit_note('json-values')}")
        return data
