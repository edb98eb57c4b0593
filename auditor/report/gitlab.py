"""GitLab secret detection report (gl-secret-detection-report.json), by GitLab's security report schemas."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from auditor.core.finding import Finding
from auditor.core.text import printable, shortened
from auditor.core.version import __version__
from auditor.pipeline import Audit
from auditor.report.finding_text import (
    failure_text,
    history_lines,
    image_name,
    location_text,
    secret_text,
    step_text,
    verdict_text,
)
from auditor.report.markdown import escaped
from auditor.report.render_options import RenderOptions

SCHEMA_VERSION = "15.2.1"
_NAMESPACE = uuid.UUID("9a0b1a64-6f2b-5d0e-9f43-0d6f3a5c7e11")
"""Namespace of the ids: version 5 UUIDs of image and finding are equal on every machine and after a rebuild."""

# The schema requires a commit. Images have none.
_NO_COMMIT = "0" * 40
_MAX_NAME = 255
_MAX_SOLUTION = 7000
_MAX_TEXT = 4000
_MAX_MESSAGES = 1000


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the report as JSON text."""
    time = options.created.removesuffix("Z")
    tool = {"id": "image-audit", "name": "image-audit", "version": __version__, "vendor": {"name": "image-audit"}}
    report = {
        "version": SCHEMA_VERSION,
        "scan": {
            "analyzer": tool,
            "scanner": tool,
            "type": "secret_detection",
            "start_time": time,
            "end_time": time,
            "status": "failure" if options.failures else "success",
            "messages": [
                *(
                    {"level": "fatal", "value": shortened(failure_text(failure), _MAX_TEXT)}
                    for failure in options.failures
                ),
                *(message for audit in audits for message in _messages(audit)),
            ],
        },
        "vulnerabilities": [
            _vulnerability(audit, finding, options.show_secrets) for audit in audits for finding in audit.findings
        ],
    }
    return json.dumps(report, indent=2) + "\n"


def _messages(audit: Audit) -> Iterable[dict[str, str]]:
    text = f"{image_name(audit)}: {verdict_text(audit)}"
    yield {"level": "info", "value": shortened(text, _MAX_TEXT)}
    for item in audit.skipped[:_MAX_MESSAGES]:
        layer = f" in layer {item.layer}" if item.layer is not None else ""
        text = f"{image_name(audit)}: not read: {printable(item.path or 'image')}{layer}: {printable(item.reason)}"
        yield {"level": "warn", "value": shortened(text, _MAX_TEXT)}
    more = len(audit.skipped) - _MAX_MESSAGES
    if more > 0:
        yield {"level": "warn", "value": f"{image_name(audit)}: {more} more items were not read"}


def _vulnerability(audit: Audit, finding: Finding, show_secrets: bool) -> dict[str, Any]:
    secret = secret_text(finding, show_secrets)
    description = "; ".join(
        [
            f"{printable(finding.name)} {secret} in {location_text(finding)} of {image_name(audit)}",
            *history_lines(finding, audit.limits),
        ]
    )
    return {
        "id": _id(audit, finding),
        "category": "secret_detection",
        "name": shortened(printable(finding.name), _MAX_NAME),
        # GitLab renders it as Markdown.
        "description": escaped(shortened(description, _MAX_TEXT)) + ".",
        "severity": finding.severity.value.capitalize(),
        "solution": shortened(" ".join(printable(sentence) for sentence in finding.advice), _MAX_SOLUTION),
        "location": _location(finding),
        "identifiers": [{"type": "image_audit_rule_id", "name": f"image-audit {finding.rule}", "value": finding.rule}],
        **({"links": [{"name": "Revoke the secret", "url": finding.revoke}]} if _is_link(finding.revoke) else {}),
        "details": _details(audit, finding, secret),
    }


def _id(audit: Audit, finding: Finding) -> str:
    return str(uuid.uuid5(_NAMESPACE, printable(f"{image_name(audit)} {finding.id}")))


def _is_link(url: str | None) -> bool:
    return url is not None and url.startswith(("https://", "http://"))


def _location(finding: Finding) -> dict[str, Any]:
    """Return the line of the Dockerfile if known, else the location in the image."""
    file, line = (finding.path or finding.where or "").lstrip("/"), finding.line
    if finding.source:
        file, line = finding.source.file, finding.source.line
    lines = {"start_line": line, "end_line": line} if line else {}
    return {"file": shortened(printable(file), _MAX_TEXT), "commit": {"sha": _NO_COMMIT}, **lines}


def _details(audit: Audit, finding: Finding, secret: str) -> dict[str, Any]:
    facts = {
        "image": ("Image", "text", image_name(audit)),
        "secret": ("Secret", "code", secret),
        "state": ("State", "text", finding.state.value),
        "place": ("Location", "code", location_text(finding)),
        "added_in": ("Added in layer", "value", finding.added_in),
        "added_by": ("Added by", "code", step_text(finding.added_by, audit.limits)),
        "hidden_in": ("Hidden in layer", "value", finding.hidden_in),
        "hidden_by": ("Hidden by", "code", step_text(finding.hidden_by, audit.limits)),
        "recover": ("Recover with", "code", printable(finding.recover or "")),
    }
    return {
        key: {"name": name, "type": kind, "value": value}
        for key, (name, kind, value) in facts.items()
        if value not in (None, "")
    }
