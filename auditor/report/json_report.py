"""JSON report, documented in docs/report.md and in the JSON Schema. The HTML page is rendered from the same values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from auditor.advice.action_plan import ActionPlan, action_plan
from auditor.advice.flatten_advice import FlattenAdvice
from auditor.core.entries import FileVersion
from auditor.core.finding import Finding, Severity, State
from auditor.core.version import __version__
from auditor.findings.secret_groups import SecretGroup, Verdict, verdict
from auditor.findings.selection import IgnoredBy
from auditor.pipeline import Audit
from auditor.report.render_options import RenderOptions

SCHEMA = "image-audit/1"


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the report as JSON text: one object, or several under `reports`."""
    return json.dumps(json_document(audits, options), indent=2, ensure_ascii=True) + "\n"


def json_document(audits: Sequence[Audit], options: RenderOptions) -> dict[str, Any]:
    """Return the report as plain values."""
    reports = [image_report(audit, options) for audit in audits]
    if len(reports) == 1 and not options.failures:
        return reports[0]
    failed = [{"target": failure.target, "reason": failure.reason} for failure in options.failures]
    return {"schema": SCHEMA, "reports": reports, "failed": failed}


def image_report(audit: Audit, options: RenderOptions) -> dict[str, Any]:
    """Return the report of one image."""
    groups = audit.secrets
    return {
        "schema": SCHEMA,
        "created": options.created,
        "tool": {"name": "image-audit", "version": __version__, "ruleset": audit.ruleset.digest},
        "image": image_object(audit),
        "findings": [_finding(finding, options.show_secrets) for finding in audit.findings],
        "secrets": [_secret(group, options.show_secrets) for group in groups],
        "verdict": _verdict(verdict(groups, options.fail_on)),
        "plan": _plan(action_plan(audit.image, groups, audit.flatten)),
        "hidden_files": _hidden_files(audit),
        "flatten": _flatten(audit.flatten),
        "coverage": {
            "layers": len(audit.records),
            "files": audit.file_count,
            "bytes": sum(record.uncompressed for record in audit.records),
            "decoded": sum(record.decoded for record in audit.records),
            "published": audit.published_count,
            "skipped": len(audit.skipped),
        },
        "skipped": [asdict(item) for item in audit.skipped],
        "ignored": {by.value: sum(item.by is by for item in audit.ignored) for by in IgnoredBy},
        "baseline": asdict(audit.baseline) if audit.baseline else None,
        "summary": _summary(audit.findings),
    }


def image_object(audit: Audit) -> dict[str, Any]:
    """Return the report's `image`: identity, layers, history."""
    image = audit.image
    return {
        "target": image.target,
        "transport": image.transport,
        "id": image.id,
        "digest": image.digest,
        "platform": str(image.config.platform) if image.config.platform else None,
        "size": sum(record.size for record in audit.records),
        "names": list(image.names),
        "base": asdict(audit.base) if audit.base else None,
        "layers": [_layer(audit, index) for index in range(len(audit.records))],
        "history": [
            {"created": step.created, "created_by": step.created_by, "comment": step.comment, "layer": layer}
            for step, layer in zip(audit.history, audit.step_layers, strict=True)
        ],
    }


def _layer(audit: Audit, index: int) -> dict[str, Any]:
    layer, record, step = audit.image.layers[index], audit.records[index], audit.step_of(index)
    stats = audit.stats[index]
    return {
        "index": index,
        "diff_id": layer.diff_id,
        "digest": layer.digest,
        "size": record.size,
        "created": step.created if step else None,
        "created_by": step.created_by if step else None,
        "comment": step.comment if step else None,
        "added": stats.added,
        "overwritten": stats.overwritten,
        "deleted": stats.deleted,
        "hidden_bytes": stats.hidden_bytes,
        "inherited": index < (audit.base.layers if audit.base else 0),
    }


def _finding(finding: Finding, show_secrets: bool) -> dict[str, Any]:
    return {
        "id": finding.id,
        "rule": finding.rule,
        "name": finding.name,
        "provider": finding.provider,
        "detector": finding.detector,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "state": finding.state,
        "path": finding.path,
        "member": finding.member,
        "decoded": list(finding.decoded),
        "where": finding.where,
        "line": finding.line,
        "added_in": finding.added_in,
        "added_by": finding.added_by,
        "hidden_in": finding.hidden_in,
        "hidden_by": finding.hidden_by,
        "inherited": finding.inherited,
        "secret": _shown(finding, show_secrets),
        "secret_id": finding.secret_id,
        "check": finding.check,
        "verified": finding.verified,
        "package": asdict(finding.package) if finding.package else None,
        "source": asdict(finding.source) if finding.source else None,
        "recover": finding.recover,
        "advice": list(finding.advice),
    }


def _shown(finding: Finding, show_secrets: bool) -> str:
    return finding.secret.reveal() if show_secrets else finding.secret.masked


def _secret(group: SecretGroup, show_secrets: bool) -> dict[str, Any]:
    first = group.first
    return {
        "secret_id": first.secret_id,
        "name": first.name,
        "provider": first.provider,
        "secret": _shown(first, show_secrets),
        "severity": group.severity,
        "confidence": group.confidence,
        "findings": [finding.id for finding in group.findings],
        "states": {state.value: count for state, count in group.states.items()},
        "revoke": group.revoke,
        "published_in": asdict(group.published_in) if group.published_in else None,
    }


def _verdict(counts: Verdict) -> dict[str, Any]:
    return {"leaks": counts.leaks, **asdict(counts)}


def _plan(plan: ActionPlan) -> dict[str, Any]:
    return {
        "revoke": [group.first.secret_id for group in plan.revoke],
        "fixes": [{**asdict(fix), "secrets": list(fix.secrets), "remedies": list(fix.remedies)} for fix in plan.fixes],
        "flatten": asdict(plan.flatten) if plan.flatten else None,
        "copies": [asdict(copy) for copy in plan.copies],
    }


def _flatten(advice: FlattenAdvice) -> dict[str, Any]:
    lists = {key: list(value) for key, value in asdict(advice).items() if isinstance(value, tuple)}
    return {**asdict(advice), **lists}


def _hidden_files(audit: Audit) -> dict[str, Any]:
    hidden, shown = audit.hidden, zip(audit.hidden.largest, audit.hidden_paths, strict=True)
    return {"count": hidden.count, "bytes": hidden.bytes, "largest": [_hidden(audit, *one) for one in shown]}


def _hidden(audit: Audit, version: FileVersion, path: str) -> dict[str, Any]:
    listing = audit.records[version.layer].listing
    layer, overwritten = audit.file_history.hidden_by(version.layer, version.entry)
    return {
        "path": path,
        "size": listing.sizes[version.entry],
        "added_in": version.layer,
        "hidden_in": layer,
        "state": State.OVERWRITTEN if overwritten else State.DELETED,
    }


def _summary(findings: Sequence[Finding]) -> dict[str, Any]:
    severities = Counter(finding.severity for finding in findings)
    states = Counter(finding.state for finding in findings)
    return {
        "findings": len(findings),
        "by_severity": {severity.value: severities[severity] for severity in Severity if severities[severity]},
        "by_state": {state.value: states[state] for state in State if states[state]},
    }
