"""Table of the report formats.

A new format is a module of this package with a `render(audits, options)` function, and a row of REPORT_FORMATS.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.pipeline import Audit
from auditor.report.render_options import RenderOptions


class Renderer(Protocol):
    """Function of a format's module that renders all audited images as one text."""

    def __call__(self, audits: Sequence[Audit], options: RenderOptions) -> str: ...


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One format of `--format` and `-o`.

    `suffixes` are the file endings that choose the format, `file_name` is a whole file name that does; a format without
    either goes to standard output only. `for_terminal`:
    the format is for a reader at a terminal, so `--quiet` suppresses it on standard output.
    """

    name: str
    module: str
    suffixes: tuple[str, ...] = ()
    file_name: str | None = None
    for_terminal: bool = False

    def render(self, audits: Sequence[Audit], options: RenderOptions) -> str:
        """Render a report. The module is imported on first use: a run needs one or two formats."""
        renderer: Renderer = importlib.import_module(f"auditor.report.{self.module}").render
        return renderer(audits, options)


REPORT_FORMATS: Mapping[str, ReportFormat] = {
    row.name: row
    for row in (
        ReportFormat("table", "table", (".txt",), for_terminal=True),
        ReportFormat("json", "json_report", (".json",)),
        ReportFormat("html", "html", (".html", ".htm")),
        ReportFormat("sarif", "sarif", (".sarif",)),
        ReportFormat("markdown", "markdown", (".md",)),
        # GitLab's documentation prescribes the file name.
        ReportFormat("gitlab", "gitlab", file_name="gl-secret-detection-report.json"),
        ReportFormat("template", "template"),
        ReportFormat("junit", "junit", (".xml",)),
    )
}


def format_of_file(path: Path) -> ReportFormat:
    """Return the format that a file's name or ending chooses. Raises UsageError for an unknown ending."""
    by_name = {row.file_name: row for row in REPORT_FORMATS.values() if row.file_name}
    by_suffix = {suffix: row for row in REPORT_FORMATS.values() for suffix in row.suffixes}
    row = by_name.get(path.name) or by_suffix.get(path.suffix.lower())
    if row is None:
        known = ", ".join([*by_suffix, *by_name])
        raise UsageError(f"-o {path}: unknown file ending. Use one of {known}")
    return row
