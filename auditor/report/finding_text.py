"""Texts about findings that all formats share, safe to print. Each format escapes its own markup."""

from __future__ import annotations

from auditor.core.finding import Finding, Severity, State
from auditor.core.limits import Limits
from auditor.core.text import instruction, plural, printable, shortened
from auditor.findings.secret_groups import verdict
from auditor.findings.selection import IgnoredBy
from auditor.pipeline import Audit, Failure

MAX_PATH = 1000


def secret_text(finding: Finding, show_secrets: bool) -> str:
    """Return the masked secret, or the secret itself with `show_secrets`."""
    return printable(finding.secret.reveal() if show_secrets else finding.secret.masked)


def location_text(finding: Finding) -> str:
    """Return the location of a finding: `/app.zip!b/.env:3 (base64)`, or a key of the image's metadata."""
    if finding.path is None:
        return shortened(printable(finding.where or ""), MAX_PATH)
    path = finding.path + (f"!{finding.member}" if finding.member else "")
    line = f":{finding.line}" if finding.line else ""
    decoded = f" ({', '.join(finding.decoded)})" if finding.decoded else ""
    return shortened(printable(path), MAX_PATH) + line + printable(decoded)


def failure_text(failure: Failure) -> str:
    """Return the target that was not audited, and the reason."""
    return printable(f"not audited: {failure}")


def step_text(created_by: str | None, limits: Limits) -> str:
    """Return the instruction of a build step, shortened to the limit `line-shown`; "" if unknown."""
    return shortened(printable(instruction(created_by)), limits.line_shown)


def history_lines(finding: Finding, limits: Limits) -> list[str]:
    """Return the layer and instruction that added the secret, then those that hid it, a line each."""
    base = " (base image)" if finding.inherited else ""
    lines = []
    if finding.added_in is not None:
        lines.append(f"added in layer {finding.added_in}{base}{_by(finding.added_by, limits)}")
    elif finding.added_by:
        lines.append(f"set{base}{_by(finding.added_by, limits)}")
    if finding.hidden_in is not None:
        hidden = "hidden" if finding.state is State.METADATA else finding.state
        lines.append(f"{hidden} in layer {finding.hidden_in}{_by(finding.hidden_by, limits)}")
    return lines


def _by(created_by: str | None, limits: Limits) -> str:
    text = step_text(created_by, limits)
    return f" by {text}" if text else ""


def verdict_text(audit: Audit) -> str:
    """Return the first line of a report: `LEAKS:` and the counts, or that nothing was found."""
    counts = verdict(audit.secrets, None)
    if counts.leaks:
        return f"LEAKS: {counts.text}."
    if audit.skipped:
        unread = plural(len(audit.skipped), "item")
        return f"Not read in full: {unread} skipped. No secrets found in the rest."
    return "No secrets found."


def coverage_text(audit: Audit, fail_on: Severity | None) -> str:
    """Return the second line: secrets at or above `fail_on`, files and layers read, skipped items, ignored findings."""
    files, published = audit.file_count, audit.published_count
    skipped = f", {plural(len(audit.skipped), 'item')} skipped" if audit.skipped else ""
    known = f", {plural(published, 'published archive')} not extracted" if published else ""
    read = f"{plural(files, 'file')} in {plural(len(audit.records), 'layer')} read{known}{skipped}"
    counts = verdict(audit.secrets, fail_on)
    failing = (
        f"{counts.failing:,} of {plural(counts.secrets, 'secret')} at or above {fail_on}. "
        if fail_on and counts.leaks
        else ""
    )
    return f"{failing}{read}.{_ignored(audit)}"


def _ignored(audit: Audit) -> str:
    if not audit.ignored:
        return ""
    by = [item.by for item in audit.ignored]
    counts = ", ".join(f"{by.count(reason)} by {reason}" for reason in IgnoredBy if reason in by)
    return f" {len(by)} more ignored ({counts})."


def image_name(audit: Audit) -> str:
    """Return the target and its platform: `layer2 (linux/amd64)`."""
    platform = audit.image.config.platform
    return shortened(printable(audit.image.target), MAX_PATH) + printable(f" ({platform})" if platform else "")
