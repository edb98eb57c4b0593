"""Markdown (GitHub and GitLab flavour) for a comment on a merge request, cut to the size limit of a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from auditor.core.finding import Finding
from auditor.core.limits import Limits
from auditor.core.text import plural, printable, shortened
from auditor.findings.secret_groups import SecretGroup
from auditor.pipeline import Audit, Failure
from auditor.report.finding_text import coverage_text, image_name, location_text, secret_text, step_text, verdict_text
from auditor.report.plan_text import PlanItem, package_secrets, plan_steps
from auditor.report.render_options import RenderOptions

MAX_BYTES = 65_536
"""Size limit of a GitHub comment; GitLab's is higher."""

_LEAST = 2000
"""Minimum number of bytes for the section of one image."""

_KEPT_FREE = 400
"""Bytes of it reserved for the lines that count omitted findings."""

_MAX_TARGET, _MAX_REASON = 200, 1000

_MARKS = {"critical": "🔴", "high": "🟠", "medium": "🟡", "low": "🔵"}
_HEAD = [
    "| Severity | Confidence | Secret | Location | State | Added by | Hidden by |",
    "|---|---|---|---|---|---|---|",
]
_MAX_ITEMS = 10
_REFERENCE = re.compile(r"([@#!~%$&])(?=[\w\"{])")
"""First characters of mentions and references on GitHub and GitLab: @user, #1, !1, ~label, %milestone, $1, &1."""

_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~$&]|:(?=\S)|(?<=www)\.", re.IGNORECASE)
"""Markup at any position of a line. A colon or `www.` starts a link or an emoji."""


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the comment. It has no time: the comment itself has one."""
    parts = _failed(options.failures)
    budget = MAX_BYTES - _LEAST - _size(parts)
    for number, audit in enumerate(audits):
        left = len(audits) - number
        if budget < _LEAST:
            parts.append(f"**{plural(left, 'more image')} omitted**: size limit of a comment.\n")
            break
        part = _image(audit, max(budget // left, _LEAST), options)
        budget -= len(part.encode())
        parts.append(part)
    return "".join(parts)


def _failed(failures: Sequence[Failure]) -> list[str]:
    """Return the first section: targets that were not audited."""
    if not failures:
        return []
    lines = [
        f"- {code(shortened(printable(failure.target), _MAX_TARGET))}: "
        f"{escaped(shortened(printable(failure.reason), _MAX_REASON))}"
        for failure in failures
    ]
    kept, more = _fit(lines, MAX_BYTES // 4)
    rest = [f"- and {more} more"] if more else []
    return ["\n".join([f"### image-audit: {plural(len(failures), 'image')} not audited", "", *kept, *rest, "", ""])]


def escaped(text: str) -> str:
    """Escape markup, links and mentions.

    Backslashes do not stop mentions, because GitHub and GitLab search for these in the rendered text: a word joiner
    (zero width) after the first character does.
    """
    return _MARKUP.sub(r"\\\g<0>", _REFERENCE.sub("\\1\u2060", text))


def code(text: str) -> str:
    """Return a code span, delimited by more backticks than the text has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _cell(text: str) -> str:
    """Return a code span for a table cell. Pipes end a cell even within a code span, so they are escaped."""
    return code(text).replace("|", "\\|")


def _image(audit: Audit, budget: int, options: RenderOptions) -> str:
    """Return the section of one image in at most `budget` bytes, or slightly more if it has no row for a finding."""
    groups = audit.secrets
    head = [
        f"### image-audit: {code(shortened(image_name(audit), _MAX_TARGET))}",
        "",
        f"**{escaped(verdict_text(audit))}** {escaped(coverage_text(audit, options.fail_on))}",
        "",
    ]
    budget -= _size(head) + _KEPT_FREE
    plan, _ = _fit(list(_plan(audit, groups, options.show_secrets)), budget // 2)
    budget -= _size(plan)
    own = [finding for group in groups if group.published_in is None for finding in group.findings]
    rows, cut = _fit([_row(audit, finding, options.show_secrets) for finding in own], budget)
    lines = [*head, *([*plan, ""] if plan else []), *([*_HEAD, *rows, ""] if rows else [])]
    if cut:
        lines += [f"**{plural(cut, 'more place')} omitted**: size limit of a comment. The JSON report lists all.", ""]
    budget -= _size(rows)
    for title, items in [*_packages(groups), *_not_read(audit)]:
        kept, more = _fit(items, budget - len(title) - 60)
        budget -= _size(kept) + len(title) + 60
        if kept:
            rest = [f"- and {more} more"] if more else []
            lines += [f"<details><summary>{title}</summary>", "", *kept, *rest, "", "</details>", ""]
    return "\n".join(lines) + "\n"


def _plan(audit: Audit, groups: Sequence[SecretGroup], show_secrets: bool) -> Iterator[str]:
    """Yield the lines of a numbered list: what to do."""
    for number, step in enumerate(plan_steps(audit, groups, show_secrets), 1):
        yield f"{number}. **{escaped(step.title)}**"
        yield from (f"   - {_item(item)}" for item in step.items[:_MAX_ITEMS])
        if len(step.items) > _MAX_ITEMS:
            yield f"   - and {len(step.items) - _MAX_ITEMS} more"


def _item(item: PlanItem) -> str:
    url = f": {_link(item.url)}" if item.url else ""
    command = f": {code(item.command)}" if item.command else ""
    return f"{escaped(item.text)}{url}{command}" + (f" ({escaped(item.remedy)})" if item.remedy else "")


def _link(address: str) -> str:
    return f"<{address}>" if re.fullmatch(r"https?://[^\s<>]+", address) else escaped(address)


def _packages(groups: Sequence[SecretGroup]) -> Iterator[tuple[str, list[str]]]:
    if folded := [f"- {escaped(item.text)}" for item in package_secrets(groups)]:
        yield "In unmodified files of packages, which publish them", folded


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _fit(lines: Sequence[str], budget: int) -> tuple[list[str], int]:
    """Return the lines that fit `budget` bytes, and the number of omitted lines."""
    kept = []
    for line in lines:
        budget -= len(line.encode()) + 1
        if budget < 0:
            break
        kept.append(line)
    return kept, len(lines) - len(kept)


def _row(audit: Audit, finding: Finding, show_secrets: bool) -> str:
    cells = (
        f"{_MARKS[finding.severity]} {finding.severity}",
        str(finding.confidence),
        f"{escaped(printable(finding.name))} {_cell(secret_text(finding, show_secrets))}",
        _cell(location_text(finding)),
        str(finding.state),
        _by(finding.added_in, finding.added_by, audit.limits) + (" (base image)" if finding.inherited else ""),
        _by(finding.hidden_in, finding.hidden_by, audit.limits),
    )
    return f"| {' | '.join(cells)} |"


def _by(layer: int | None, created_by: str | None, limits: Limits) -> str:
    text = step_text(created_by, limits)
    parts = [*([f"layer {layer}"] if layer is not None else []), *([_cell(text)] if text else [])]
    return ": ".join(parts)


def _not_read(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    if audit.skipped:
        lines = [
            f"- {code(printable(item.path or 'image'))}: {escaped(printable(item.reason))}" for item in audit.skipped
        ]
        yield f"Not read: {plural(len(audit.skipped), 'item')}", lines
