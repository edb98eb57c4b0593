"""Additions to the results of an audit: use of the baseline, Dockerfile lines, validity of secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.api.components import Notify
from auditor.core.clock import today
from auditor.core.options import AuditOptions
from auditor.findings.baseline import Baseline
from auditor.pipeline import Audit

if TYPE_CHECKING:
    from auditor.dockerfile.instructions import Dockerfile

_MAX_NAMED = 3


def with_baseline(
    audits: Sequence[Audit], options: AuditOptions, baseline: Baseline | None, notify: Notify
) -> list[Audit]:
    """Add the use of the baseline to each audit; note its expired and unused entries, and expired `ignore` entries."""
    now = today()
    for item in options.ignore:
        if item.has_expired(now):
            notify(f"{item.place}: expired on {item.expires}; its findings are shown. Remove it or set a later date")
    if baseline is None:
        return list(audits)
    use = baseline.use([audit.for_baseline() for audit in audits], now)
    for state, ids in (("expired, findings shown", use.expired), ("finding no longer in the image", use.vanished)):
        if ids:
            notify(f"{use.file}: {state}: {_some(ids)}. Review with `image-audit baseline audit {use.file}`")
    return [replace(audit, baseline=use) for audit in audits]


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
    return ", ".join(ids[:_MAX_NAMED]) + more


def with_lines(audits: Sequence[Audit], dockerfile: Dockerfile, notify: Notify) -> list[Audit]:
    """Add the lines of the Dockerfile to findings; note each image with another history."""
    # The parser of Dockerfiles takes 25 ms, which a run without --dockerfile need not pay.
    from auditor.dockerfile.finding_lines import with_dockerfile_lines

    pairs = [(audit, with_dockerfile_lines(audit, dockerfile)) for audit in audits]
    for audit, matching in pairs:
        if matching is None:
            notify(
                f"{dockerfile.name}: does not match the history of {audit.image.target}; "
                "its findings have no Dockerfile line"
            )
    return [matching or audit for audit, matching in pairs]


def with_verification(audits: Sequence[Audit], options: AuditOptions, notify: Notify) -> list[Audit]:
    """Ask the providers whether the secrets are still valid."""
    # A TLS stack that only --verify needs.
    from auditor.verify import Verifier, verified

    if options.untrusted_rules:
        paths = ", ".join(map(str, options.untrusted_rules))
        notify(f"{paths}: not used for --verify. Name the config file with --config to trust its rules")
    verifier = Verifier()
    return [replace(one, findings=verified(one.findings, one.ruleset.by_id, verifier)) for one in audits]
