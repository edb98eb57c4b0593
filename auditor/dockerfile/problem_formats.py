"""Problems of a Dockerfile as a table, JSON or SARIF."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from auditor.core.finding import Severity
from auditor.core.text import plural, printable
from auditor.dockerfile import sarif
from auditor.dockerfile.problems import DockerfileProblem
from auditor.report.terminal import SEVERITY_STYLES, lines, printed, wrapped

SCHEMA = "image-audit-dockerfile/1"


def render(form: str, path: Path, problems: Sequence[DockerfileProblem], *, width: int, color: bool) -> str:
    """Render a report in one of the FORMATS."""
    match form:
        case "json":
            return json.dumps(document(path, problems), indent=2) + "\n"
        case "sarif":
            return sarif.render(path, problems)
        case _:
            return _table(path, problems, width, color)


def document(path: Path, problems: Sequence[DockerfileProblem]) -> dict[str, Any]:
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


def _table(path: Path, problems: Sequence[DockerfileProblem], width: int, color: bool) -> str:
    shown = [line for problem in problems for line in _problem(path, problem, width)]
    fixes = wrapped(Text(f"For a diff that removes what it can: {_fix_command(path)}", style="dim"), width)
    return printed([lines([*shown, _summary(path, problems), *(fixes if problems else ())])], width=width, color=color)


def _fix_command(path: Path) -> str:
    return printable(f"image-audit dockerfile {shlex.quote(str(path))} --fix")


def _problem(path: Path, problem: DockerfileProblem, width: int) -> Iterator[Text]:
    heading = Text().append(printable(f"{path}:{problem.line}"), "cyan")
    heading.append(f"  {problem.severity.upper()}", SEVERITY_STYLES[problem.severity])
    yield heading.append(f"  {problem.rule}", "bold")
    yield from wrapped(Text(printable(problem.message) + "."), width, 2)
    yield from wrapped(Text(printable(problem.advice), style="dim"), width, 2)
    yield Text()


def _summary(path: Path, problems: Sequence[DockerfileProblem]) -> Text:
    if not problems:
        return Text(printable(f"No problems found in {path}."), style="green")
    counts = [(severity, sum(p.severity is severity for p in problems)) for severity in Severity]
    listed = ", ".join(f"{count} {severity}" for severity, count in counts if count)
    return Text(printable(f"{plural(len(problems), 'problem')} found in {path} ({listed})."), style="bold")
