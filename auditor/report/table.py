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
from auditor.report.text import plural, printable, size
from auditor.report.words import fate, place, shown_secret, summary

_STYLES = {
    Severity.CRITICAL: "bold white on red",
    Severity.HIGH: "bold red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
}
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
    text = Text(printable(finding.name), style="bold")
    text.append(f"  {shown_secret(finding, show_secrets)}", style="not bold")
    if finding.verified:
        style = "bold red" if finding.verified == "active" else "dim not bold"
        text.append(f"  verified: {finding.verified}", style=style)
    text.append("\n")
    text.append(place(finding), style="cyan")
    for line in fate(finding):
        text.append(f"\n{line}")
    if finding.recover and finding.state in (State.DELETED, State.OVERWRITTEN):
        text.append(f"\nstill recoverable: {printable(finding.recover)}", style="magenta")
    return text


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
            what = item.path or "image"
            layer = f" in layer {item.layer}" if item.layer is not None else ""
            parts.append(Padding(Text(printable(f"{what}{layer}: {item.reason}")), (0, 0, 0, 2)))
    parts.append(Text(""))
    return parts


def _summary(audit: Audit) -> Text:
    return Text(summary(audit), style="bold" if audit.findings else "green")


def _plans(audit: Audit) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right", style="dim")
    table.add_column(overflow="fold")
    for plan in audit.flatten.plans:
        kept = f"{plan.layers_kept} of {plan.layers_kept + plan.layers_rewritten} layers kept"
        table.add_row(f"  {plan.method}", kept, printable(plan.command))
    return table
