"""The report for a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.audit import Audit
from auditor.model import Finding, Severity, State
from auditor.report.text import instruction, plural, printable, shortened, size

_STYLES = {
    Severity.CRITICAL: "bold white on red",
    Severity.HIGH: "bold red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
}
_MAX_INSTRUCTION = 160
_MAX_SKIPPED = 10


def render(audits: Sequence[Audit], *, width: int = 80, color: bool = False, show_secrets: bool = False) -> str:
    """Return the report as text of at most `width` columns."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    for audit in audits:
        console.print(_report(audit, show_secrets))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _report(audit: Audit, show_secrets: bool) -> RenderableType:
    parts: list[RenderableType] = [_heading(audit)]
    if audit.findings:
        parts.append(_findings(audit.findings, show_secrets))
    parts += _closing(audit)
    return Group(*parts)


def _heading(audit: Audit) -> RenderableType:
    image = audit.image
    facts = [
        image.transport,
        *([str(image.config.platform)] if image.config.platform else []),
        plural(len(audit.records), "layer"),
        size(sum(record.size for record in audit.records)),
    ]
    lines = Text(printable(image.target), style="bold")
    lines.append("  " + ", ".join(printable(fact) for fact in facts), style="dim")
    return Group(lines, Rule(style="dim"))


def _findings(findings: Iterable[Finding], show_secrets: bool) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 1, 0), show_header=False, expand=True)
    table.add_column(width=11)
    table.add_column(ratio=1, overflow="fold")
    for finding in findings:
        table.add_row(_label(finding), _body(finding, show_secrets))
    return table


def _label(finding: Finding) -> Text:
    text = Text(finding.severity.upper(), style=_STYLES[finding.severity])
    text.append(f"\n{finding.state}", style="default not bold")
    return text


def _body(finding: Finding, show_secrets: bool) -> Text:
    secret = finding.secret.reveal() if show_secrets else finding.secret.masked
    text = Text(printable(finding.name), style="bold")
    text.append(f"  {printable(secret)}", style="not bold")
    if finding.verified:
        style = "bold red" if finding.verified == "active" else "dim not bold"
        text.append(f"  verified: {finding.verified}", style=style)
    text.append("\n")
    text.append(_place(finding), style="cyan")
    for line in _fate(finding):
        text.append(f"\n{line}")
    if finding.recover and finding.state in (State.DELETED, State.OVERWRITTEN):
        text.append(f"\nstill recoverable: {printable(finding.recover)}", style="magenta")
    return text


def _place(finding: Finding) -> str:
    if finding.path is None:
        return printable(finding.where or "")
    path = finding.path + (f"!{finding.member}" if finding.member else "")
    line = f":{finding.line}" if finding.line else ""
    decoded = f" ({', '.join(finding.decoded)})" if finding.decoded else ""
    return printable(path + line + decoded)


def _fate(finding: Finding) -> Iterable[str]:
    base = " (base image)" if finding.inherited else ""
    if finding.added_in is not None:
        yield f"added in layer {finding.added_in}{base}{_by(finding.added_by)}"
    elif finding.added_by:
        yield f"set{base}{_by(finding.added_by)}"
    if finding.hidden_in is not None:
        yield f"{finding.state} in layer {finding.hidden_in}{_by(finding.hidden_by)}"


def _by(step: str | None) -> str:
    return f" by {shortened(printable(instruction(step)), _MAX_INSTRUCTION)}" if step else ""


def _closing(audit: Audit) -> list[RenderableType]:
    parts: list[RenderableType] = [_summary(audit)]
    advice = audit.flatten
    if advice.recommended:
        parts.append(Text("Flatten it: " + "; ".join(advice.reasons) + ".", style="bold"))
        parts.append(_plans(audit))
        parts += [Text(finding.advice[0]) for finding in audit.findings[:1]]
    if audit.skipped:
        parts.append(Text(f"Not read: {plural(len(audit.skipped), 'item')}.", style="yellow"))
        for item in audit.skipped[:_MAX_SKIPPED]:
            place = item.path or "image"
            layer = f" in layer {item.layer}" if item.layer is not None else ""
            parts.append(Padding(Text(printable(f"{place}{layer}: {item.reason}")), (0, 0, 0, 2)))
    parts.append(Text(""))
    return parts


def _summary(audit: Audit) -> Text:
    files = sum(1 for record in audit.records for _ in record.listing.files())
    read = f"{plural(files, 'file')} in {plural(len(audit.records), 'layer')} read"
    if not audit.findings:
        return Text(f"No secrets found. {read}.", style="green")
    counts = ", ".join(
        f"{sum(f.severity is severity for f in audit.findings)} {severity}"
        for severity in Severity
        if any(f.severity is severity for f in audit.findings)
    )
    hidden = sum(f.hidden_in is not None for f in audit.findings)
    gone = f", {hidden} of them deleted or overwritten but recoverable" if hidden else ""
    return Text(f"{plural(len(audit.findings), 'secret')} found ({counts}){gone}; {read}.", style="bold")


def _plans(audit: Audit) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right", style="dim")
    table.add_column(overflow="fold")
    for plan in audit.flatten.plans:
        kept = f"{plan.layers_kept} of {plan.layers_kept + plan.layers_rewritten} layers kept"
        table.add_row(f"  {plan.method}", kept, printable(plan.command))
    return table
