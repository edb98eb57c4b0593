"""Report for a terminal: verdict, what to do, then the secrets, most urgent first.

A report of one screen that does not fit has one line a secret. Secrets in unmodified files of packages are folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest

from rich.console import Group, RenderableType
from rich.text import Text

from auditor.core.finding import Finding
from auditor.core.text import plural, printable, shortened, size
from auditor.findings.secret_groups import SecretGroup, in_history
from auditor.pipeline import Audit, Failure
from auditor.report.finding_text import (
    coverage_text,
    failure_text,
    history_lines,
    location_text,
    secret_text,
    verdict_text,
)
from auditor.report.plan_text import PlanItem, PlanStep, package_secrets, plan_steps
from auditor.report.render_options import RenderOptions
from auditor.report.terminal import SEVERITY_STYLES, lines, printed, wrapped

_SCREEN = 22
"""Lines of a report that fits a terminal of 24 lines, with the prompt below it."""

_MAX_SKIPPED = 10
_LABEL = 12
_INDENT = 3
_LINES_OF_A_STEP = 2
"""Lines of a step of the plan below its title, in a short report."""


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the report, wrapped at the terminal's width; commands and URLs are not broken."""
    reports = [_report(audit, options) for audit in audits]
    failed = [
        line
        for failure in options.failures
        for line in wrapped(Text(_failed(failure), style="bold red"), options.width)
    ]
    return printed([*reports, *([lines(failed)] if failed else [])], width=options.width, color=options.color)


def _failed(failure: Failure) -> str:
    text = failure_text(failure)
    return text[0].upper() + text[1:]


def _report(audit: Audit, options: RenderOptions) -> RenderableType:
    groups, head = audit.secrets, list(_head(audit, options))
    full: Iterator[Text] = chain(head, _full(audit, groups, options))
    if options.one_screen:
        start = list(islice(full, _SCREEN))
        full = iter(start if len(start) < _SCREEN else [*head, *_short(audit, groups, len(head), options)])
    return Group(lines(full), Text())


def _head(audit: Audit, options: RenderOptions) -> Iterator[Text]:
    image = audit.image
    facts = [
        image.transport,
        *([str(image.config.platform)] if image.config.platform else []),
        plural(len(audit.records), "layer"),
        size(sum(record.size for record in audit.records)),
    ]
    text = Text(printable(image.target), style="bold")
    text.append("  " + ", ".join(printable(fact) for fact in facts), style="not bold dim")
    yield from wrapped(text, options.width)
    style = "bold red" if audit.findings else "yellow" if audit.skipped else "green"
    yield from wrapped(Text(verdict_text(audit), style=style), options.width)
    yield from wrapped(Text(coverage_text(audit, options.fail_on), style="dim"), options.width)


# --- the report in full ----------------------------------------------------------------------------------------------


def _full(audit: Audit, groups: Sequence[SecretGroup], options: RenderOptions) -> Iterator[Text]:
    for number, step in enumerate(plan_steps(audit, groups, options.show_secrets), 1):
        yield from _titled(number, step, options.width)
        for item in step.items:
            yield from _item(item, options.width)
    for group in groups:
        if group.published_in is None or options.unfold:
            yield Text()
            yield from _block(audit, group, options)
    yield from _packages(groups, options.width)
    yield from _skipped(audit, options.width)


def _titled(number: int, step: PlanStep, width: int) -> Iterator[Text]:
    if number == 1:
        yield Text()
    yield from wrapped(Text(f"{number}. {step.title}", style="bold"), width)


def _item(item: PlanItem, width: int, *, short: bool = False) -> Iterator[Text]:
    """Yield an item with its URL or command on the same line if both fit, else below; `short` cuts the text."""
    tail = item.url or item.command or ""
    if tail and len(item.text) + len(tail) + _INDENT + 2 <= width:
        yield Text(" " * _INDENT + f"{item.text}: ").append(tail, "cyan")
    else:
        text = shortened(item.text, width - _INDENT) if short else item.text
        yield from wrapped(Text(text), width, _INDENT)
        if tail:
            yield Text(" " * 2 * _INDENT + tail, style="cyan")
    if item.remedy and not short:
        yield from wrapped(Text(item.remedy, style="dim"), width, 2 * _INDENT)


def _block(audit: Audit, group: SecretGroup, options: RenderOptions) -> Iterator[Text]:
    """Yield the lines of a secret: severity and states on the left, name and places on the right."""
    width = options.width - _LABEL
    name = (
        Text().append(printable(group.first.name), "bold").append(f" {secret_text(group.first, options.show_secrets)}")
    )
    name.append(f", {group.confidence} confidence", style="dim")
    label = Text(group.severity.upper(), style=SEVERITY_STYLES[group.severity])
    yield from _beside(label, wrapped(name, width))
    for places in _merged(group.findings):
        yield from _beside(Text(places[0].state), _place(audit, places, width))


def _beside(label: Text, body: Iterator[Text]) -> Iterator[Text]:
    for left, right in zip_longest((label,), body, fillvalue=Text()):
        yield Text().append_text(left).append(" " * (_LABEL - left.cell_len)).append_text(right)


def _merged(findings: Sequence[Finding]) -> Iterator[tuple[Finding, ...]]:
    """Yield the places of a secret; those in build steps are one, as a build argument is in each later step."""
    steps = tuple(finding for finding in findings if in_history(finding))
    for finding in findings:
        if finding not in steps:
            yield (finding,)
    if steps:
        yield steps


def _place(audit: Audit, places: Sequence[Finding], width: int) -> Iterator[Text]:
    first = places[0]
    text = Text(location_text(first), style="cyan")
    if len(places) > 1:
        text.append(f" and {plural(len(places) - 1, 'more build step')}", style="default")
    if first.verified:
        text.append(f"  verified: {first.verified}", style="bold red" if first.verified == "active" else "dim")
    yield from wrapped(text, width)
    if first.source:
        yield from wrapped(Text(printable(f"{first.source.file}:{first.source.line}")), width)
    for line in history_lines(first, audit.limits):
        yield from wrapped(Text(line), width)
    if first.recover and first.is_hidden:
        yield Text(f"still recoverable: {printable(first.recover)}", style="magenta")


def _packages(groups: Sequence[SecretGroup], width: int) -> Iterator[Text]:
    folded = [package.text for package in package_secrets(groups)]
    if folded:
        yield Text()
        yield from wrapped(Text("In unmodified files of packages, which publish them:", style="bold"), width)
        for text in folded:
            yield from wrapped(Text(text), width, _INDENT)


def _skipped(audit: Audit, width: int) -> Iterator[Text]:
    if not audit.skipped:
        return
    yield Text()
    yield Text(f"Not read: {plural(len(audit.skipped), 'item')}.", style="yellow")
    for item in audit.skipped[:_MAX_SKIPPED]:
        layer = f" in layer {item.layer}" if item.layer is not None else ""
        yield from wrapped(Text(printable(f"{item.path or 'image'}{layer}: {item.reason}")), width, 2)
    if len(audit.skipped) > _MAX_SKIPPED:
        yield Text(f"  and {len(audit.skipped) - _MAX_SKIPPED} more; the JSON report lists all")


# --- the report on one screen ----------------------------------------------------------------------------------------


def _short(audit: Audit, groups: Sequence[SecretGroup], head: int, options: RenderOptions) -> Iterator[Text]:
    """Yield the plan with few items a step, then one line a secret as far as the screen has room below `head` lines."""
    plan = list(_short_plan(plan_steps(audit, groups, options.show_secrets), options.width))
    yield from plan
    own = [group for group in groups if group.published_in is None]
    folded = list(package_secrets(groups))
    room = max(_SCREEN - head - len(plan) - 2 - bool(folded) - bool(audit.skipped), 1)
    shown = own[:room] if len(own) > room else own
    yield Text()
    for group in shown:
        yield _row(group, options)
    if folded:
        secrets = plural(sum(item.counts.secrets for item in folded), "secret")
        yield Text(f"and {secrets} in unmodified files of {plural(len(folded), 'package')}", style="dim")
    if audit.skipped:
        yield Text(f"Not read: {plural(len(audit.skipped), 'item')}.", style="yellow")
    rest = f"{plural(len(own) - len(shown), 'more secret')}, all" if len(own) > len(shown) else "All"
    yield Text(f"{rest} places and remedies: --all", style="dim")


def _short_plan(steps: Sequence[PlanStep], width: int) -> Iterator[Text]:
    for number, step in enumerate(steps, 1):
        yield from _titled(number, step, width)
        left, more = _LINES_OF_A_STEP, len(step.items)
        for item in step.items:
            part = list(_item(item, width, short=True))
            if len(part) > left:
                break
            yield from part
            left, more = left - len(part), more - 1
        if more:
            yield Text(f"{' ' * _INDENT}and {more} more", style="dim")


def _row(group: SecretGroup, options: RenderOptions) -> Text:
    """Return a secret in one line: severity, confidence, state, rule, mask, and the end of the path."""
    first = group.first
    row = Text(f"{group.severity.upper():<9}", style=SEVERITY_STYLES[group.severity])
    row.append(f" {group.confidence:<7}{first.state:<12}", style="default not bold")
    row.append(f"{first.rule} {shortened(secret_text(first, options.show_secrets), 24)} ", style="default bold")
    more = f" +{len(group.findings) - 1}" if len(group.findings) > 1 else ""
    room = max(options.width - row.cell_len - len(more), 12)
    place = location_text(first)
    return row.append((place if len(place) <= room else f"…{place[1 - room :]}") + more, style="cyan not bold")
