"""Report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from auditor.core.finding import Finding
from auditor.core.text import plural, printable, size
from auditor.pipeline import Audit, Failure
from auditor.report.finding_text import failure_text, history_lines, location_text, secret_text, summary
from auditor.report.render_options import RenderOptions
from auditor.report.terminal import SEVERITY_STYLES, lines, printed, wrapped

_MAX_SKIPPED = 10
_LABEL = 12


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the report, wrapped at the terminal's width; commands and URLs are not broken."""
    reports = [_report(audit, options.width, options.show_secrets) for audit in audits]
    failed = [
        line
        for failure in options.failures
        for line in wrapped(Text(_failed(failure), style="bold red"), options.width)
    ]
    return printed([*reports, *([lines(failed)] if failed else [])], width=options.width, color=options.color)


def _failed(failure: Failure) -> str:
    text = failure_text(failure)
    return text[0].upper() + text[1:]


def _report(audit: Audit, width: int, show_secrets: bool) -> RenderableType:
    findings = [line for finding in audit.findings for line in _finding(audit, finding, width, show_secrets)]
    return Group(*_heading(audit, width), lines([*findings, *_closing(audit, width)]))


def _heading(audit: Audit, width: int) -> Iterator[RenderableType]:
    image = audit.image
    facts = [
        image.transport,
        *([str(image.config.platform)] if image.config.platform else []),
        plural(len(audit.records), "layer"),
        size(sum(record.size for record in audit.records)),
    ]
    text = Text(printable(image.target), style="bold")
    text.append("  " + ", ".join(printable(fact) for fact in facts), style="not bold dim")
    yield lines(wrapped(text, width))
    yield Rule(style="dim")


def _finding(audit: Audit, finding: Finding, width: int, show_secrets: bool) -> Iterator[Text]:
    """Yield the lines of a finding: severity and state on the left, its description on the right."""
    label = (Text(finding.severity.upper(), style=SEVERITY_STYLES[finding.severity]), Text(finding.state))
    for left, right in zip_longest(label, _body(audit, finding, width - _LABEL, show_secrets), fillvalue=Text()):
        beside = Text(" " * (_LABEL - left.cell_len))
        yield Text().append_text(left).append_text(beside).append_text(right)
    yield Text()


def _body(audit: Audit, finding: Finding, width: int, show_secrets: bool) -> Iterator[Text]:
    text = Text().append(printable(finding.name), "bold")
    text.append(f"  {secret_text(finding, show_secrets)}")
    if finding.verified:
        text.append(f"  verified: {finding.verified}", style="bold red" if finding.verified == "active" else "dim")
    yield from wrapped(text, width)
    yield from wrapped(Text(location_text(finding), style="cyan"), width)
    for line in history_lines(finding, audit.limits):
        yield from wrapped(Text(line), width)
    if finding.recover and finding.is_hidden:
        yield Text(f"still recoverable: {printable(finding.recover)}", style="magenta")


def _closing(audit: Audit, width: int) -> Iterator[Text]:
    yield from wrapped(_summary(audit), width)
    advice = audit.flatten
    if advice.recommended:
        yield from wrapped(Text("Flatten this image: " + "; ".join(advice.reasons) + ".", style="bold"), width)
        for plan in advice.plans:
            kept = f"{plan.layers_kept} of {plan.layers_kept + plan.layers_rewritten} layers kept"
            yield Text(f"  {plan.method}, {kept}:")
            yield Text(f"    {printable(plan.command)}")
        for finding in audit.findings[:1]:
            yield from wrapped(Text(finding.advice[0]), width)
    if audit.skipped:
        yield Text(f"Not read: {plural(len(audit.skipped), 'item')}.", style="yellow")
        for item in audit.skipped[:_MAX_SKIPPED]:
            layer = f" in layer {item.layer}" if item.layer is not None else ""
            yield from wrapped(Text(printable(f"{item.path or 'image'}{layer}: {item.reason}")), width, 2)
    yield Text()


def _summary(audit: Audit) -> Text:
    return Text(summary(audit), style="bold" if audit.findings else "green")
