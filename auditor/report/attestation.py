"""Text of a statement of an audit, for a terminal."""

from __future__ import annotations

from auditor.attest.statement import Statement
from auditor.core.finding import Confidence, Severity
from auditor.core.text import plural, printable


def _first_line(statement: Statement, fail_on: Severity | None, min_confidence: Confidence) -> str:
    if failing := statement.failing(fail_on):
        return f"LEAKS: {plural(failing, 'secret')} at or above --fail-on {fail_on}"
    if doubt := statement.doubt(min_confidence):
        return f"NOT AUDITED IN FULL: {doubt}"
    return f"CLEAN: no secret at or above --fail-on {fail_on}, and every part was read"


def render(statement: Statement, fail_on: Severity | None, min_confidence: Confidence) -> str:
    """Return the verdict by the reader's severity and confidence, the images, and the circumstances of the audit."""
    run = statement.run
    lines = [_first_line(statement, fail_on, min_confidence)]
    lines += [f"  {subject.name}@{subject.digest}" for subject in statement.subjects]
    counts = ", ".join(f"{count} {severity}" for severity, count in statement.by_severity.items())
    lines.append(f"secrets: {counts}")
    ignored = sum(sum(image.ignored.values()) for image in statement.images)
    if ignored:
        lines.append(f"accepted by options, config file or baseline: {plural(ignored, 'finding')}")
    for image in statement.images:
        for item in image.not_read:
            place = "metadata" if item.layer is None else f"layer {item.layer}"
            lines.append(f"not read: {plural(item.items, 'item')} of {place} of {image.digest}")
    lines.append(
        f"audited: {run.started} to {run.finished} by image-audit {run.version}, rules {run.ruleset}, "
        f"--fail-on {run.fail_on}, --min-confidence {run.min_confidence}"
    )
    return "".join(printable(line) + "\n" for line in lines)
