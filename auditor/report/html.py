"""The report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditor.audit import Audit
from auditor.data import data_path
from auditor.report.document import report
from auditor.report.text import instruction, plural, printable, size


def render(audits: Sequence[Audit], created: str, *, show_secrets: bool = False) -> str:
    """Return the page. Every text of the image is escaped; the page asks for nothing from anywhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_path("reports/templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=size, instruction=instruction, printable=_shown)
    environment.globals["plural"] = plural
    reports = [report(audit, created, show_secrets=show_secrets) for audit in audits]
    return environment.get_template("report.html").render(reports=reports, created=created)


def _shown(value: Any) -> str:
    return printable(str(value))
