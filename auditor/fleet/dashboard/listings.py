"""Long lists, cut into pages of at most 200 kB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from auditor.core.dataclass import dataclass
from auditor.fleet.dashboard.site_paths import numbered

IMAGES, SECRETS, REPOSITORIES, LAYERS = 50, 100, 150, 40
"""Rows per page."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """Rows of one page of a list. `number` counts from 1, `paths` are those of all pages, `total` counts all rows."""

    path: str
    number: int
    rows: tuple[T, ...]
    total: int
    paths: tuple[str, ...]


def parts(path: str, rows: Sequence[T], size: int) -> list[Part[T]]:
    """Cut a list into pages of `size` rows; the first one has the given path. An empty list has one page."""
    starts = range(0, max(len(rows), 1), size)
    paths = tuple(numbered(path, number) for number in range(1, len(starts) + 1))
    return [
        Part(own, number, tuple(rows[start : start + size]), len(rows), paths)
        for number, (own, start) in enumerate(zip(paths, starts, strict=True), 1)
    ]
