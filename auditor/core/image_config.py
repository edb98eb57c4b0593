"""Parts of an image config that an audit reads. OCI image spec, config.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One step of an image's history. `empty` steps made no layer."""

    created: str | None
    created_by: str | None
    comment: str
    empty: bool


@dataclass(frozen=True, slots=True)
class Platform:
    """`os/architecture[/variant]`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image config. `raw` is the whole parsed document, `size` its bytes; `diff_ids` has one item a layer."""

    platform: Platform | None
    diff_ids: tuple[DiffID, ...]
    history: tuple[HistoryStep, ...]
    raw: Mapping[str, Any]
    size: int = 0
