"""Findings of an image, each with the line of the Dockerfile that brought it in."""

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
    """Return an audit whose findings have their source; None where the image does not come from this Dockerfile."""
    lines = instruction_lines(dockerfile, audit.image.config.history)
    if not any(lines):
        return None
    name = _relative(dockerfile.name)
    return replace(audit, findings=tuple(_sourced(audit, finding, lines, name) for finding in audit.findings))


def _relative(name: str) -> str:
    """Return a path as code scanning wants it: from the working directory where it lies below that, with slashes."""
    path = Path(name)
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return (path.relative_to(Path.cwd()) if inside else path).as_posix()


def _sourced(audit: Audit, finding: Finding, lines: Sequence[int | None], name: str) -> Finding:
    step = _step(audit, finding)
    line = lines[step] if step is not None and step < len(lines) else None
    return replace(finding, source=SourceLine(name, line)) if line is not None else finding


def _step(audit: Audit, finding: Finding) -> int | None:
    """Return the step that brought a finding in: the one its place names, that of its layer, or that of its text."""
    named = _HISTORY.match(finding.where or "")
    if named:
        return int(named[1])
    if finding.added_in is not None:
        return step_of_layer(audit.step_layers, finding.added_in)
    said = [at for at, step in enumerate(audit.history) if finding.added_by and step.created_by == finding.added_by]
    return said[-1] if said else None
