"""The report as one self-contained HTML page, made of the same document as the JSON report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditor.pipeline import Audit, Failure
from auditor.report.document import report
from auditor.report.html.page import page
from auditor.report.html.view import views
from auditor.report.words import not_audited


def render(
    audits: Sequence[Audit], created: str, *, failures: Sequence[Failure] = (), show_secrets: bool = False
) -> str:
    """Return the page. Every text of the image is escaped; the page asks for nothing from anywhere."""
    reports = [report(audit, created, show_secrets=show_secrets) for audit in audits]
    return render_page(reports, "report.html", created=created, failures=[not_audited(one) for one in failures])


def render_documents(reports: Sequence[dict[str, Any]]) -> str:
    """Return the page of reports as `document.report` makes them."""
    return render_page(reports, "report.html")


def render_page(reports: Sequence[dict[str, Any]], template: str, *, styles: Sequence[str] = (), **values: Any) -> str:
    """Return the page of reports by a template that extends report.html; `styles` and `values` are its own."""
    images = views(reports)
    grids = sorted({image.picture.grid for image in images})
    return page(
        template,
        styles=("style.css", "filters.css", "report.css", *styles),
        rules=[f".{grid.name}{{--columns:{grid.columns};--base:{grid.base}}}" for grid in grids],
        scripts=("report.js",),
        images=images,
        **values,
    )
