"""HTML report: one self-contained page, rendered from the values of the JSON report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditor.pipeline import Audit
from auditor.report.finding_text import failure_text
from auditor.report.html.file_rows import layer_files
from auditor.report.html.image_view import views
from auditor.report.html.page import page
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions


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
    **values: Any,
) -> str:
    """Render image reports with a template that extends report.html.

    With the `audits` of the reports, each layer has its file tree. `styles` and `values` belong to the template.
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
        trees=trees,
        **values,
    )
