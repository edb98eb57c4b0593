"""The texts of an image that stand in no file: config, history, labels, annotations, attestations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.core.image_config import ImageConfig
from auditor.core.limits import Limits, named

Note = Callable[[str, str], None]
"""Told a place, and why not all was searched there."""

Mask = Callable[[str], str]
"""Masks the secrets in a key before it becomes a part of a place."""

_MAX_PLACE, _MAX_KEY = 1024, 256
"""Characters of a place, and of a key beside a text, that are kept: both are said again of all that lies below."""
_MIN_KEY = 8
"""Characters of a key that could be a secret itself."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text and its place, as the report names it: `config.Env[2]`, `history[4].created_by`, `annotations.x`.

    `key` is what the text is assigned to, "" where it stands alone: a label's name, a JSON key. Keys are texts too; in
    a place their secrets are masked.
    `step` is the step of the history that it belongs to, where it belongs to one.
    """

    where: str
    key: str
    value: str
    step: int | None = None


def texts(
    config: ImageConfig,
    annotations: Mapping[str, str],
    documents: Mapping[str, Any],
    limits: Limits,
    note: Note = lambda _, __: None,
    *,
    names: Sequence[str] = (),
    mask: Mask = lambda key: key,
) -> Iterator[Text]:
    """Yield every text of an image's metadata, in a fixed order, as far as limits go; tell `note` where they end."""
    raw = dict(config.raw)
    history, rootfs = raw.pop("history", None), raw.pop("rootfs", None)
    yield from _leaves("", raw, note, mask, limits)
    if isinstance(rootfs, dict):
        yield from _leaves("rootfs", {key: rootfs[key] for key in rootfs if key != "diff_ids"}, note, mask, limits)
    for number, step in enumerate(history or []):
        if isinstance(step, dict):
            for text in _leaves(f"history[{number}]", step, note, mask, limits):
                yield Text(text.where, "", text.value, number)
    for number, name in enumerate(names):
        yield _text(f"names[{number}]", "", name, note, limits)
    yield from _leaves("annotations", dict(annotations), note, mask, limits)
    for name, document in documents.items():
        yield from _leaves(name, document, note, mask, limits)


def _leaves(where: str, value: Any, note: Note, mask: Mask, limits: Limits) -> Iterator[Text]:
    """Walk a JSON value to its texts. Not recursive: hostile documents nest deep."""
    keys = set[str]()
    ways = [iter([(where[:_MAX_PLACE], "", value)])]
    count, most = 0, limits.texts
    while ways:
        here = next(ways[-1], None)
        if here is None:
            ways.pop()
            continue
        place, key, item = here
        if isinstance(item, dict | list):
            ways.append(_children(place, key, item, mask, keys))
        elif isinstance(item, str) and item:
            count += 1
            if count > most:
                note(where or "config", f"more than {most} texts; the rest was left out {named('texts')}")
                return
            yield _text(place, "" if _is_env(place) else key, item, note, limits)


def _children(
    place: str, key: str, item: dict[str, Any] | list[Any], mask: Mask, keys: set[str]
) -> Iterator[tuple[str, str, Any]]:
    """Yield place, key and value of what is in an object or a list, and of each key that is not in `keys` itself."""
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
        # A secret may stand beside the option that names it: Cmd ["app", "--password", "…"].
        yield place, key, " ".join(item)


def _text(place: str, key: str, value: str, note: Note, limits: Limits) -> Text:
    most = limits.text_bytes
    if len(value) > most:
        note(place, f"a text of {len(value)} characters; {most} are searched {named('text-bytes')}")
    return Text(place, key, value[:most])


def _is_env(place: str) -> bool:
    return place.partition("[")[0].endswith(".Env")
