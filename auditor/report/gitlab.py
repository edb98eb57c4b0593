"""GitLab's secret detection report: gl-secret-detection-report.json, of the security report schemas."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from auditor.core.finding import Finding
from auditor.core.text import printable, shortened
from auditor.core.version import __version__
from auditor.pipeline import Audit, Failure
from auditor.report.markdown import escaped
from auditor.report.words import fate, image_name, not_audited, place, shown_secret, step

SCHEMA_VERSION = "15.2.1"
_NAMESPACE = uuid.UUID("9a0b1a64-6f2b-5d0e-9f43-0d6f3a5c7e11")
"""Of the ids: a UUID of version 5 over image and finding is the same on every machine and after a rebuild."""

# The schema demands a commit. A secret in an image stands in none.
_NO_COMMIT = "0" * 40
_MAX_NAME = 255
_MAX_SOLUTION = 7000
_MAX_TEXT = 4000
_MAX_MESSAGES = 1000


def render(
    audits: Sequence[Audit], created: str, *, failures: Sequence[Failure] = (), show_secrets: bool = False
) -> str:
    """Return the report as JSON text. `created` is RFC 3339 in UTC."""
    time = created.removesuffix("Z")
    tool = {"id": "image-audit", "name": "image-audit", "version": __version__, "vendor": {"name": "image-audit"}}
    report = {
        "version": SCHEMA_VERSION,
        "scan": {
            "analyzer": tool,
            "scanner": tool,
            "type": "secret_detection",
            "start_time": time,
            "end_time": time,
            "status": "failure" if failures else "success",
            "messages": [
                *({"level": "fatal", "value": shortened(not_audited(failure), _MAX_TEXT)} for failure in failures),
                *(message for audit in audits for message in _messages(audit)),
            ],
        },
        "vulnerabilities": [
            _vulnerability(audit, finding, show_secrets) for audit in audits for finding in audit.findings
        ],
    }
    return json.dumps(report, indent=2) + "\n"


def _messages(audit: Audit) -> Iterable[dict[str, str]]:
    for item in audit.skipped[:_MAX_MESSAGES]:
        layer = f" in layer {item.layer}" if item.layer is not None else ""
        said = f"{image_name(audit)}: not read: {printable(item.path or 'image')}{layer}: {printable(item.reason)}"
        yield {"level": "warn", "value": shortened(said, _MAX_TEXT)}
    more = len(audit.skipped) - _MAX_MESSAGES
    if more > 0:
        yield {"level": "warn", "value": f"{image_name(audit)}: {more} more items were not read"}


def _vulnerability(audit: Audit, finding: Finding, show_secrets: bool) -> dict[str, Any]:
    secret = shown_secret(finding, show_secrets)
    said = "; ".join(
        [f"{printable(finding.name)} {secret} in {place(finding)} of {image_name(audit)}", *fate(finding, audit.limits)]
    )
    return {
        "id": _id(audit, finding),
        "category": "secret_detection",
        "name": shortened(printable(finding.name), _MAX_NAME),
        # GitLab renders it as Markdown.
        "description": escaped(shortened(said, _MAX_TEXT)) + ".",
        "severity": finding.severity.value.capitalize(),
        "solution": shortened(" ".join(printable(sentence) for sentence in finding.advice), _MAX_SOLUTION),
        "location": _location(finding),
        "identifiers": [{"type": "image_audit_rule_id", "name": f"image-audit {finding.rule}", "value": finding.rule}],
        **({"links": [{"name": "Revoke it", "url": finding.revoke}]} if _is_link(finding.revoke) else {}),
        "details": _details(audit, finding, secret),
    }


def _id(audit: Audit, finding: Finding) -> str:
    return str(uuid.uuid5(_NAMESPACE, printable(f"{image_name(audit)} {finding.id}")))


def _is_link(url: str | None) -> bool:
    return url is not None and url.startswith(("https://", "http://"))


def _location(finding: Finding) -> dict[str, Any]:
    """Return the line of the Dockerfile where it is known, else the place in the image."""
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
        "place": ("Place", "code", place(finding)),
        "added_in": ("Added in layer", "value", finding.added_in),
        "added_by": ("Added by", "code", step(finding.added_by, audit.limits)),
        "hidden_in": ("Hidden in layer", "value", finding.hidden_in),
        "hidden_by": ("Hidden by", "code", step(finding.hidden_by, audit.limits)),
        "recover": ("Still recoverable by", "code", printable(finding.recover or "")),
    }
    return {
        key: {"name": name, "type": kind, "value": value}
        for key, (name, kind, value) in facts.items()
        if value not in (None, "")
    }
