"""SARIF 2.1.0 (OASIS) for GitHub code scanning: one run an image, one result a finding.

GitHub shows only results with a file and a line, identifies alerts by `primaryLocationLineHash`, requires a different
category (`automationDetails.id` up to its last slash) for each run of a file, and rejects more than 25,000 results.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from auditor.core.entries import Skipped
from auditor.core.finding import Finding, Severity
from auditor.core.text import printable, shortened
from auditor.core.version import __version__
from auditor.detect.rules import Rule
from auditor.findings.secret_groups import verdict
from auditor.pipeline import Audit, Failure
from auditor.report.finding_text import (
    failure_text,
    history_lines,
    image_name,
    location_text,
    secret_text,
    verdict_text,
)
from auditor.report.render_options import RenderOptions
from auditor.rulebook.rule_page import rule_page

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
SECURITY_SEVERITY = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.5", Severity.LOW: "2.0"}
"""GitHub's bands: critical above 9.0, high from 7.0, medium from 4.0, low above 0."""

METADATA_URI = "image-config"
"""File name of findings in the image's metadata: a result must have a file."""

MAX_RESULTS = 25_000
MAX_SKIPPED = 1000
MAX_MESSAGE = 1000
MAX_NAME = 255


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the log as JSON text.

    Targets that were not audited share one run in a category of its own: an empty run in an image's category would
    close the image's alerts.
    """
    taken: Counter[str] = Counter()
    runs = []
    for audit in audits:
        category = _category(audit)
        taken[category] += 1
        number = f"{taken[category]}/" if taken[category] > 1 else ""
        runs.append(_run(audit, category + number, options))
    if options.failures:
        runs.append(_failed_run(options.failures, options.created))
    return log(runs)


def _failed_run(failures: Sequence[Failure], created: str) -> dict[str, Any]:
    notifications = [
        {"level": "error", "message": message(failure_text(failure))} for failure in failures[:MAX_SKIPPED]
    ]
    return {
        "tool": {"driver": {"name": "image-audit", "version": __version__, "semanticVersion": __version__}},
        "automationDetails": {"id": "image-audit/not-audited/", "description": message("Images that were not audited")},
        "invocations": [
            {"executionSuccessful": False, "endTimeUtc": created, "toolExecutionNotifications": notifications}
        ],
        "columnKind": "unicodeCodePoints",
        "results": [],
    }


def log(runs: Sequence[dict[str, Any]]) -> str:
    """Return a SARIF log of runs as JSON text."""
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": list(runs)}, indent=2) + "\n"


def message(text: str) -> dict[str, str]:
    """Return a message object. Placeholders and links (SARIF 3.11.5, 3.11.6) are disabled by a space."""
    return {"text": shortened(re.sub(r"\{(\d+)\}", r"{ \1 }", text).replace("](", "] ("), MAX_MESSAGE)}


def _run(audit: Audit, category: str, options: RenderOptions) -> dict[str, Any]:
    shown = audit.findings[:MAX_RESULTS]
    rules = [audit.ruleset.by_id[rule] for rule in sorted({finding.rule for finding in shown})]
    numbers = {rule.id: number for number, rule in enumerate(rules)}
    return {
        "tool": {
            "driver": {
                "name": "image-audit",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(rule) for rule in rules],
                "properties": {"ruleset": audit.ruleset.digest},
            }
        },
        "automationDetails": {
            "id": category,
            "description": message(f"{image_name(audit)}: {verdict_text(audit)}"),
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "endTimeUtc": options.created,
                "toolExecutionNotifications": list(_notifications(audit)),
            }
        ],
        "columnKind": "unicodeCodePoints",
        "properties": {"verdict": asdict(verdict(audit.secrets, options.fail_on))},
        "results": [_result(audit, finding, numbers[finding.rule], options.show_secrets) for finding in shown],
    }


def _category(audit: Audit) -> str:
    """Return `image-audit/layer2/linux/amd64/`: equal for every build of an image, different for each platform."""
    platform = audit.image.config.platform
    parts = ["image-audit", printable(audit.image.target), *([printable(str(platform))] if platform else [])]
    return "/".join(parts) + "/"


def _rule(rule: Rule) -> dict[str, Any]:
    name = shortened(rule.name, MAX_NAME)
    return {
        "id": rule.id,
        "name": name,
        "shortDescription": {"text": name},
        "fullDescription": {"text": f"{name} in a container image: anyone who can pull the image can read it."},
        "help": {"text": rule_page(rule), "markdown": rule_page(rule)},
        **({"helpUri": rule.revoke} if rule.revoke else {}),
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {
            "security-severity": SECURITY_SEVERITY[rule.severity],
            "precision": rule.confidence.value,
            "tags": ["security", "secret", "container", "external/cwe/cwe-798", rule.provider],
        },
    }


def _result(audit: Audit, finding: Finding, number: int, show_secrets: bool) -> dict[str, Any]:
    secret = secret_text(finding, show_secrets)
    summary = "; ".join(
        [
            f"{printable(finding.name)} {secret} in {location_text(finding)} ({finding.state})",
            *history_lines(finding, audit.limits),
        ]
    )
    result = {
        "ruleId": finding.rule,
        "ruleIndex": number,
        "level": LEVELS[finding.severity],
        "message": message(f"{summary}. {printable(finding.advice[0]) if finding.advice else ''}".rstrip()),
        "locations": [_location(audit, finding)],
        # GitHub expects a counter of equal lines after the colon; an id is unique, so it is always 1.
        "partialFingerprints": {"primaryLocationLineHash": f"{finding.id}:1", "imageAuditFinding/v1": finding.id},
        "properties": _properties(finding, secret),
    }
    if finding.source:
        result["relatedLocations"] = [{"id": 1, **_in_image(finding), "message": message(f"In {image_name(audit)}")}]
    return result


def _location(audit: Audit, finding: Finding) -> dict[str, Any]:
    """Return the line of the Dockerfile if known, else the location in the image."""
    physical = _in_image(finding)
    if finding.source:
        physical = _at(uri(finding.source.file), finding.source.line)
    return {**physical, "logicalLocations": _logical(audit, finding)}


def _in_image(finding: Finding) -> dict[str, Any]:
    return _at(METADATA_URI if finding.path is None else uri(finding.path), finding.line)


def _at(where: str, line: int | None) -> dict[str, Any]:
    # GitHub drops results without a line: findings in binary data get line 1.
    return {"physicalLocation": {"artifactLocation": {"uri": where}, "region": {"startLine": line or 1}}}


def uri(path: str) -> str:
    """Return a path as a relative URI reference (RFC 3986): percent-encoded, without a leading slash."""
    return quote(path.lstrip("/"), safe="/", errors="backslashreplace") or "."


def _logical(audit: Audit, finding: Finding) -> list[dict[str, str]]:
    image = image_name(audit)
    steps = [("image", image)]
    if finding.added_in is not None:
        steps.append(("layer", f"layer {finding.added_in}"))
    if finding.member:
        steps.append(("member", shortened(printable(finding.member), MAX_MESSAGE)))
    if finding.where:
        steps.append(("metadata", shortened(printable(finding.where), MAX_MESSAGE)))
    names = [name for _, name in steps]
    return [
        {"kind": kind, "name": name, "fullyQualifiedName": "!".join(names[: at + 1])}
        for at, (kind, name) in enumerate(steps)
    ]


def _properties(finding: Finding, secret: str) -> dict[str, Any]:
    return {
        "state": finding.state.value,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "secret": secret,
        "secretId": finding.secret_id,
        "line": finding.line,
        "addedIn": finding.added_in,
        "hiddenIn": finding.hidden_in,
        "inherited": finding.inherited,
        "verified": finding.verified,
        "recover": None if finding.recover is None else printable(finding.recover),
    }


def _notifications(audit: Audit) -> Iterable[dict[str, Any]]:
    """Yield the skipped items, and the number of findings and items above GitHub's limits."""
    for item in audit.skipped[:MAX_SKIPPED]:
        yield _notification(_skipped(item))
    for subject, count, limit in (
        ("items were not read", len(audit.skipped), MAX_SKIPPED),
        ("findings are not shown", len(audit.findings), MAX_RESULTS),
    ):
        if count > limit:
            yield _notification(f"{count - limit} more {subject} here; the JSON report lists all.")


def _skipped(item: Skipped) -> str:
    layer = f" in layer {item.layer}" if item.layer is not None else ""
    return f"Not read: {printable(item.path or 'image')}{layer}: {printable(item.reason)}"


def _notification(text: str) -> dict[str, Any]:
    return {"level": "warning", "message": message(text)}
