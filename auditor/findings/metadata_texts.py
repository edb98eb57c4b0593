"""Texts of an image outside its files: config, history, labels, annotations, attestations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.image_config import ImageConfig
from auditor.core.limits import Limits, limit_note

Note = Callable[[str, str], None]
"""Callback for a text that was not searched in full: its place, the reason."""

Mask = Callable[[str], str]
"""Function that masks the secrets in a key, before the key becomes part of a place."""

_MAX_PLACE, _MAX_KEY = 1024, 256
"""Characters of a place and of a key that are kept. Both are repeated for every text below them."""
_MIN_KEY = 8
"""Characters of the shortest key that is searched as a text of its own."""


@dataclass(frozen=True, slots=True)
class MetadataText:
    """One text of the metadata, with its place in the form of the report: `config.Env[2]`, `history[4].created_by`.

    `key` is the JSON key or label name of the text, "" where it has none. Secrets in the keys of a place are masked;
    keys are also texts of their own.
    `step` is the history step that holds the text, None outside the history.
    """

    where: str
    key: str
    value: str
    step: int | None = None


def metadata_texts(
    config: ImageConfig,
    annotations: Mapping[str, str],
    documents: Mapping[str, Any],
    limits: Limits,
    note: Note = lambda _, __: None,
    *,
    names: Sequence[str] = (),
    mask: Mask = lambda key: key,
) -> Iterator[MetadataText]:
    """Yield the texts of an image's metadata in a fixed order, within the limits; `note` hears of those left out."""
    raw = dict(config.raw)
    history, rootfs = raw.pop("history", None), raw.pop("rootfs", None)
    yield from _leaves("", raw, note, mask, limits)
    if isinstance(rootfs, dict):
        yield from _leaves("rootfs", {key: rootfs[key] for key in rootfs if key != "diff_ids"}, note, mask, limits)
    for number, step in enumerate(history or []):
        if isinstance(step, dict):
            for text in _leaves(f"history[{number}]", step, note, mask, limits):
                yield MetadataText(text.where, "", text.value, number)
    for number, name in enumerate(names):
        yield _text(f"names[{number}]", "", name, note, limits)
    yield from _leaves("annotations", dict(annotations), note, mask, limits)
    for name, document in documents.items():
        yield from _leaves(name, document, note, mask, limits)


def _leaves(where: str, value: Any, note: Note, mask: Mask, limits: Limits) -> Iterator[MetadataText]:
    """Yield the texts of a JSON value. Iterative, because hostile documents nest deep."""
    keys = set[str]()
    stack = [iter([(where[:_MAX_PLACE], "", value)])]
    count, most = 0, limits.texts
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
            continue
        place, key, item = child
        if isinstance(item, dict | list):
            stack.append(_children(place, key, item, mask, keys))
        elif isinstance(item, str) and item:
            count += 1
            if count > most:
                note(where or "config", f"more than {most} texts; the others were not searched {limit_note('texts')}")
                return
            yield _text(place, "" if _is_env(place) else key, item, note, limits)


def _children(
    place: str, key: str, item: dict[str, Any] | list[Any], mask: Mask, keys: set[str]
) -> Iterator[tuple[str, str, Any]]:
    """Yield place, key and value of each child of an object or list, and each key not yet in `keys` as a text."""
    if isinstance(item, dict):
        for name, child in item.items():
            within = f"{place}.{mask(name)}" if place else mask(name)
            if len(name) >= _MIN_KEY and name not in keys:
                keys.add(name)
                yield within[:_MAX_PLACE], "", name
            yield within[:_MAX_PLACE], name[:_MAX_KEY], child
        return
    for at, child in enumerate(item):
        yield f"{place}[{at}]"[:_MAX_PLACE], key, child
    if all(isinstance(child, str) for child in item) and len(item) > 1 and not _is_env(place):
        # An option and its value are two items: Cmd ["app", "--password", "…"].
        yield place, key, " ".join(item)


def _text(place: str, key: str, value: str, note: Note, limits: Limits) -> MetadataText:
    most = limits.text_bytes
    if len(value) > most:
        note(place, f"a text of {len(value)} characters; {most} were searched {limit_note('text-bytes')}")
    return MetadataText(place, key, value[:most])


def _is_env(place: str) -> bool:
    return place.partition("[")[0].endswith(".Env")
