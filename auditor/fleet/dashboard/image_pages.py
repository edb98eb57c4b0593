"""Pages of one image: its findings are cut into pages of at most 200 kB."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from auditor.core.dataclass import dataclass
from auditor.core.text import printable
from auditor.fleet.dashboard.site_paths import image_page, numbered
from auditor.fleet.remediation.open_secrets import OpenSecret
from auditor.fleet.store.rows import FindingRow, ImageRow

_FIRST_PAGE, _LATER_PAGE = 60_000, 120_000
"""Bytes of findings on a page: the first one also has summary, chart and layers."""
_FINDING, _TIMES_SHOWN = 2_000, 3
"""Bytes of a finding, and times that its path is shown: in the location, in advice and in commands."""


@dataclass(frozen=True, slots=True)
class ImagePages:
    """Paths of the pages of one image, and the page of each finding by its id."""

    paths: tuple[str, ...]
    page_of: dict[str, str]

    def on(self, path: str, findings: Iterable[str]) -> frozenset[str]:
        """Return those of the findings that are on a page; unknown ones are on the first."""
        return frozenset(finding for finding in findings if self.page_of.get(finding, self.paths[0]) == path)


def pages_of_images(images: Iterable[ImageRow], secrets: Iterable[OpenSecret]) -> dict[int, ImagePages]:
    """Return the pages of each image by its row id; findings have the order of their secrets."""
    paths = {image.id: image_page(image) for image in images}
    rows: dict[int, list[FindingRow]] = {image: [] for image in paths}
    for secret in secrets:
        for row in secret.findings:
            rows[row.image].append(row)
    return {image: _pages(paths[image], own) for image, own in rows.items()}


def _pages(first: str, rows: Iterable[FindingRow]) -> ImagePages:
    paths, page_of, left = [first], dict[str, str](), _FIRST_PAGE
    for row in rows:
        size = _FINDING + _TIMES_SHOWN * len(escape(printable(row.path or row.where or "")))
        if size > left and page_of:
            paths.append(numbered(first, len(paths) + 1))
            left = _LATER_PAGE
        left -= size
        page_of[row.id] = paths[-1]
    return ImagePages(tuple(paths), page_of)
