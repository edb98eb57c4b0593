"""The texts of an image that stand in no file: config, history, labels, annotations, attestations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.limits import current
from auditor.model import Config


@dataclass(frozen=True, slots=True)
class Text:
    """One text and its place, as the report names it: `config.Env[2]`, `history[4].created_by`, `annotations.x`.

    `key` is what the text is assigned to, "" where it stands alone: a label's name, a JSON key.
    `step` is the step of the history that it belongs to, where it belongs to one.
    """

    where: str
    key: str
    value: str
    step: int | None = None


def texts(config: Config, annotations: Mapping[str, str], documents: Mapping[str, Any]) -> Iterator[Text]:
    """Yield every text of an image's metadata, in a fixed order."""
    raw = config.raw
    for name, value in raw.items():
        if name not in ("history", "rootfs"):
            yield from _leaves(name, value)
    for number, step in enumerate(raw.get("history") or []):
        if isinstance(step, dict):
            for text in _leaves(f"history[{number}]", step):
                yield Text(text.where, "", text.value, number)
    for name, value in annotations.items():
        yield Text(f"annotations.{name}", name, value)
    for name, document in documents.items():
        yield from _leaves(name, document)


def _leaves(where: str, value: Any) -> Iterator[Text]:
    """Walk a JSON value to its texts. Not recursive: hostile documents nest deep."""
    stack: list[tuple[str, str, Any]] = [(where, "", value)]
    count, limits = 0, current()
    while stack:
        place, key, item = stack.pop()
        if isinstance(item, dict):
            stack += [(f"{place}.{name}", str(name), child) for name, child in reversed(item.items())]
        elif isinstance(item, list):
            if all(isinstance(child, str) for child in item) and len(item) > 1 and not _is_env(place):
                # A secret may stand beside the option that names it: Cmd ["app", "--password", "…"].
                stack.append((place, key, " ".join(item)))
            stack += [(f"{place}[{at}]", key, child) for at, child in reversed(list(enumerate(item)))]
        elif isinstance(item, str) and item:
            count += 1
            if count > limits.texts:
                return
            yield Text(place, "" if _is_env(place) else key, item[: limits.text_bytes])


def _is_env(place: str) -> bool:
    return place.partition("[")[0].endswith(".Env")
