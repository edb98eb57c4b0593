"""Text from a Jinja2 template over the values of the JSON report, in Jinja2's sandbox and a process with limits.

A template has `reports` (one JSON report an image), `failed` (targets with reasons), `created`, and the filters `size`,
`plural` and those of Jinja2. Texts of the image are escaped for terminals, and for HTML or XML if the template's name
ends with `.html` or `.xml`, also before `.j2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.core.errors import UsageError, reason
from auditor.core.package_data import data_path
from auditor.core.text import printable
from auditor.pipeline import Audit
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions
from auditor.report.template_process import environment, render_isolated

_DEFAULT = "reports/templates/lines.txt.j2"
_MARKUP = (".html", ".xml", ".html.j2", ".xml.j2")


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Render the template of the options, or one line a place. Raises UsageError with the line of the template."""
    path = options.template or data_path(_DEFAULT)
    try:
        text = Path(str(path)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--template {path}: can't be read: {reason(exc)}") from None
    values = {
        "reports": [_printable(image_report(audit, options)) for audit in audits],
        "failed": [_printable({"target": item.target, "reason": item.reason}) for item in options.failures],
        "created": options.created,
    }
    escape = str(path).endswith(_MARKUP)
    if options.template is None:
        return environment(escape=escape).from_string(text).render(values)
    return render_isolated(f"--template {path}", text, values, escape=escape)


def _printable(value: Any) -> Any:
    """Return JSON values with all texts safe to print, keys too: they may be names of the image."""
    if isinstance(value, dict):
        return {printable(str(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value
