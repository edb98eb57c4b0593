"""Message of a stopped push: findings by image, and the commands that let the same push pass."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from auditor.advice.remedy import build_fix
from auditor.core.finding import Finding
from auditor.core.text import printable
from auditor.dockerfile.problems import DockerfileProblem
from auditor.findings.secret_groups import secret_groups, verdict
from auditor.images.targets import is_image_id, parse_target
from auditor.images.transports import TRANSPORTS
from auditor.pipeline import Audit
from auditor.report.finding_text import history_lines, location_text

_MAX_FINDINGS = 5
_INDENT = "    "


def image_lines(name: str, audit: Audit, findings: Sequence[Finding], *, several: bool = False) -> list[str]:
    """Return the lines on one image: its findings, where to revoke them, how to remove them.

    `several` is set where the name stands for several platforms.
    """
    lines = [f"{printable(name)}: {verdict(secret_groups(findings), None).text}"]
    for finding in findings[:_MAX_FINDINGS]:
        text = f"{location_text(finding)}: {finding.name} {finding.secret.masked} ({finding.severity}, {finding.state})"
        lines += ["  " + printable(text), *(_INDENT + line for line in history_lines(finding, audit.limits))]
    if len(findings) > _MAX_FINDINGS:
        more = len(findings) - _MAX_FINDINGS
        lines.append(f"  and {more} more: {shlex.join(['image-audit', 'scan', name])}")
    places = dict.fromkeys(finding.revoke for finding in findings if finding.revoke)
    lines += [f"  Revoke: {url} (anyone who can pull the image can read it)" for url in places]
    if any(_flattens(finding) for finding in findings):
        lines.append(f"  Fix: {printable(flatten_command(name, audit, several=several))}")
    advice = dict.fromkeys(build_fix(finding) for finding in findings if not _flattens(finding))
    lines += [f"  Fix: {printable(text)}" for text in advice]
    return lines


def dockerfile_lines(path: Path, problems: Sequence[DockerfileProblem]) -> list[str]:
    """Return the lines on one Dockerfile."""
    lines = list[str]()
    for problem in problems:
        lines += [f"{path}:{problem.line}: {problem.rule}: {problem.message}", f"  Fix: {problem.advice}"]
    return [printable(line) for line in lines]


def flatten_command(name: str, audit: Audit, *, several: bool) -> str:
    """Return the command that replaces the leaking image by a clean one, with `several` platforms only this one."""
    target = parse_target(name)
    platform = ["--platform", str(audit.image.config.platform)] if several else []
    flatten = ["image-audit", "flatten", name, *platform, "--excise"]
    transport = TRANSPORTS[audit.image.transport]
    if transport.in_engine and not is_image_id(target.value) and "@" not in name:
        return shlex.join([*flatten, "-t", target.value, "--force"])
    if transport.in_registry:
        return shlex.join([*flatten, "--push", target.value])
    if transport.file_ending is not None and target.tag is None:
        clean = f"{target.value}.clean{transport.file_ending}"
        return f"{shlex.join([*flatten, '-o', clean])} && {shlex.join(['mv', clean, target.value])}"
    return audit.flatten.plans[0].command


def _flattens(finding: Finding) -> bool:
    """Whether flattening removes a finding: one hidden in a file, or one in the history."""
    return finding.is_hidden or (finding.where or "").startswith("history[")


def stopped(parts: Iterable[Sequence[str]]) -> str:
    """Return the whole message."""
    lines = [line for part in parts for line in part]
    return "\n".join(
        [
            "image-audit stopped this push.",
            *lines,
            "To push all the same: SKIP=image-audit git push, or git push --no-verify",
        ]
    )
