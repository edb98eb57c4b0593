"""HTML report: one self-contained page, rendered from the values of the JSON report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.pipeline import Audit
from auditor.report.finding_text import failure_text
from auditor.report.html.file_rows import layer_files
from auditor.report.html.image_view import views
from auditor.report.html.page import page
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions


@dataclass(frozen=True, slots=True)
class ListLimits:
    """Most items of a list on the page; characters of a build step and of a path."""

    items: int
    skipped: int
    step: int
    path: int


FULL = ListLimits(200, 200, 1000, 4096)
BRIEF = ListLimits(30, 10, 200, 200)
"""Limits of a page that must stay below 200 kB."""


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the page. Texts of the image are escaped, and the page loads no other resource."""
    reports = [image_report(audit, options) for audit in audits]
    failures = [failure_text(failure) for failure in options.failures]
    return render_page(reports, "report.html", audits, created=options.created, failures=failures)


def render_page(
    reports: Sequence[dict[str, Any]],
    template: str,
    audits: Sequence[Audit] = (),
    *,
    styles: Sequence[str] = (),
    limits: ListLimits = FULL,
    listed: dict[str, Any] | None = None,
    elsewhere: Mapping[str, str] | None = None,
    **values: Any,
) -> str:
    """Render image reports with a template that extends report.html.

    With the `audits` of the reports, each layer has its file tree. `listed` is the part of the only report whose
    findings the page lists, `elsewhere` the pages of the others by finding. `styles` and `values` are the template's.
    """
    images = views(reports)
    trees = [layer_files(audit, image.anchor_of) for audit, image in zip(audits, images, strict=bool(audits))]
    grids = sorted({image.chart.grid for image in images})
    return page(
        template,
        styles=("style.css", "filters.css", "report.css", *styles),
        rules=[f".{grid.name}{{--columns:{grid.columns};--base:{grid.base}}}" for grid in grids],
        scripts=("report.js",),
        images=images,
        listed=images if listed is None else views([listed]),
        elsewhere=elsewhere or {},
        limits=limits,
        trees=trees,
        **values,
    )
