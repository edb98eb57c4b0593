"""Line of the Dockerfile for each finding of an image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from auditor.core.finding import Finding, SourceLine
from auditor.dockerfile.instructions import Dockerfile
from auditor.dockerfile.step_alignment import instruction_lines
from auditor.layers.build_steps import step_of_layer
from auditor.pipeline import Audit

_HISTORY = re.compile(r"history\[(\d+)\]")


def with_dockerfile_lines(audit: Audit, dockerfile: Dockerfile) -> Audit | None:
    """Return the audit with `source` set in its findings, or None if the image has another Dockerfile."""
    lines = instruction_lines(dockerfile, audit.image.config.history)
    if not any(lines):
        return None
    name = _relative(dockerfile.name)
    return replace(audit, findings=tuple(_with_line(audit, finding, lines, name) for finding in audit.findings))


def _relative(name: str) -> str:
    """Return a path for code scanning: relative to the working directory if it is below it, with slashes."""
    path = Path(name)
    below = path.is_absolute() and path.is_relative_to(Path.cwd())
    return (path.relative_to(Path.cwd()) if below else path).as_posix()


def _with_line(audit: Audit, finding: Finding, lines: Sequence[int | None], name: str) -> Finding:
    step = _step(audit, finding)
    line = lines[step] if step is not None and step < len(lines) else None
    return replace(finding, source=SourceLine(name, line)) if line is not None else finding


def _step(audit: Audit, finding: Finding) -> int | None:
    """Return the build step of a finding: by its location, by its layer, or by the text of the step."""
    named = _HISTORY.match(finding.where or "")
    if named:
        return int(named[1])
    if finding.added_in is not None:
        return step_of_layer(audit.step_layers, finding.added_in)
    steps = [at for at, step in enumerate(audit.history) if finding.added_by and step.created_by == finding.added_by]
    return steps[-1] if steps else None
