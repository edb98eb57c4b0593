"""The problems of a Dockerfile, for a terminal and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.dockerfile.model import Problem
from auditor.model import Severity
from auditor.report.text import plural, printable

SCHEMA = "image-audit-dockerfile/1"
FORMATS = ("table", "json", "sarif")
_STYLES = {
    Severity.CRITICAL: "bold white on red",
    Severity.HIGH: "bold red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
}


def render(form: str, path: Path, problems: Sequence[Problem], *, width: int, color: bool) -> str:
    """Render a report in one of FORMATS."""
    match form:
        case "json":
            return json.dumps(document(path, problems), indent=2) + "\n"
        case "sarif":
            from auditor.dockerfile import sarif

            return sarif.render(path, problems)
        case _:
            return _table(path, problems, width, color)


def document(path: Path, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the JSON report as plain values."""
    return {
        "schema": SCHEMA,
        "file": str(path),
        "findings": [
            {
                "rule": problem.rule.value,
                "line": problem.line,
                "severity": problem.severity.value,
                "message": problem.message,
                "advice": problem.advice,
            }
            for problem in problems
        ],
    }


def _table(path: Path, problems: Sequence[Problem], width: int, color: bool) -> str:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    for problem in problems:
        heading = Text(printable(f"{path}:{problem.line}"), style="cyan")
        heading.append(f"  {problem.severity.upper()}", style=_STYLES[problem.severity])
        heading.append(f"  {problem.rule}", style="bold")
        console.print(heading, overflow="fold")
        console.print(Padding(Text(printable(problem.message) + "."), (0, 0, 0, 2)))
        console.print(Padding(Text(printable(problem.advice), style="dim"), (0, 0, 1, 2)))
    console.print(_summary(path, problems))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _summary(path: Path, problems: Sequence[Problem]) -> Any:
    from rich.text import Text

    if not problems:
        return Text(printable(f"No problems found in {path}."), style="green")
    counts = [(severity, sum(p.severity is severity for p in problems)) for severity in Severity]
    listed = ", ".join(f"{count} {severity}" for severity, count in counts if count)
    return Text(printable(f"{plural(len(problems), 'problem')} found in {path} ({listed})."), style="bold")
