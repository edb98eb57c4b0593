"""Markdown for the comment on a merge request: GitHub's and GitLab's flavour, cut to what a comment takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from auditor.core.finding import Finding
from auditor.core.limits import Limits
from auditor.core.text import plural, printable, shortened
from auditor.pipeline import Audit, Failure
from auditor.report.words import image_name, place, shown_secret, step, summary

MAX_BYTES = 65_536
"""Of a GitHub comment; GitLab takes more."""

_LEAST = 2000
"""Bytes that the part of one image gets at least."""

_KEPT_FREE = 400
"""Bytes of it for the lines that say what was cut."""

_MAX_TARGET, _MAX_REASON = 200, 1000

_MARKS = {"critical": "🔴", "high": "🟠", "medium": "🟡", "low": "🔵"}
_HEAD = ["| Severity | Secret | Place | State | Added by | Hidden by |", "|---|---|---|---|---|---|"]
_REFERENCE = re.compile(r"([@#!~%$&])(?=[\w\"{])")
"""What GitHub and GitLab make a mention or a reference of: @user, #1, !1, ~label, %milestone, $1, &1."""

_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~$&]|:(?=\S)|(?<=www)\.", re.IGNORECASE)
"""What is markup anywhere in a line; a colon or `www.` begins a link or an emoji."""


def render(
    audits: Sequence[Audit],
    created: str,  # noqa: ARG001
    *,
    failures: Sequence[Failure] = (),
    show_secrets: bool = False,
) -> str:
    """Return the comment. The time stands in none: a comment has its own."""
    parts = _failed(failures)
    room = MAX_BYTES - _LEAST - _size(parts)
    for number, audit in enumerate(audits):
        left = len(audits) - number
        if room < _LEAST:
            parts.append(f"**{plural(left, 'more image')} not shown**: a comment takes no more.\n")
            break
        part = _image(audit, max(room // left, _LEAST), show_secrets)
        room -= len(part.encode())
        parts.append(part)
    return "".join(parts)


def _failed(failures: Sequence[Failure]) -> list[str]:
    """Return the part on the targets that were not audited, which comes first."""
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
    """Return a text that shows as it stands: no markup, no link, and nobody is mentioned.

    A word joiner, which takes no room, comes after what begins a mention: those are looked for after Markdown's
    backslashes are gone.
    """
    return _MARKUP.sub(r"\\\g<0>", _REFERENCE.sub("\\1\u2060", text))


def code(text: str) -> str:
    """Return a code span, in more backticks than the text has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _cell(text: str) -> str:
    """Return a code span in a table, where a pipe would end the cell in spite of it."""
    return code(text).replace("|", "\\|")


def _image(audit: Audit, room: int, show_secrets: bool) -> str:
    """Return the part of one image in at most `room` bytes, or little more where that holds no finding."""
    head = [
        f"### image-audit: {code(shortened(image_name(audit), _MAX_TARGET))}",
        "",
        f"**{escaped(summary(audit))}**",
        "",
    ]
    room -= _size(head) + _KEPT_FREE
    rows, cut = _fit([_row(audit, finding, show_secrets) for finding in audit.findings], room)
    lines = [*head, *([*_HEAD, *rows, ""] if rows else [])]
    if cut:
        lines += [f"**{plural(cut, 'more finding')} not shown**: a comment takes no more. The JSON report has all.", ""]
    room -= _size(rows)
    details = [*_advice(audit.findings), *_not_read(audit)]
    for title, items in details:
        kept, more = _fit(items, room - len(title) - 60)
        room -= _size(kept) + len(title) + 60
        if kept:
            rest = [f"- and {more} more"] if more else []
            lines += [f"<details><summary>{title}</summary>", "", *kept, *rest, "", "</details>", ""]
    return "\n".join(lines) + "\n"


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _fit(lines: Sequence[str], room: int) -> tuple[list[str], int]:
    """Return the lines that fit, and how many do not."""
    kept = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return kept, len(lines) - len(kept)


def _row(audit: Audit, finding: Finding, show_secrets: bool) -> str:
    cells = (
        f"{_MARKS[finding.severity]} {finding.severity}",
        f"{escaped(printable(finding.name))} {_cell(shown_secret(finding, show_secrets))}",
        _cell(place(finding)),
        str(finding.state),
        _by(finding.added_in, finding.added_by, audit.limits) + (" (base image)" if finding.inherited else ""),
        _by(finding.hidden_in, finding.hidden_by, audit.limits),
    )
    return f"| {' | '.join(cells)} |"


def _by(layer: int | None, created_by: str | None, limits: Limits) -> str:
    text = step(created_by, limits)
    parts = [*([f"layer {layer}"] if layer is not None else []), *([_cell(text)] if text else [])]
    return ": ".join(parts)


def _advice(findings: Iterable[Finding]) -> Iterator[tuple[str, list[str]]]:
    """Yield the advice, each piece once, with the places it is for."""
    places: dict[str, list[str]] = {}
    for finding in findings:
        for sentence in finding.advice:
            places.setdefault(_linked(sentence, finding.revoke), []).append(code(place(finding)))
    if places:
        yield "How to get rid of them", [f"- {said} ({_listed(found)})" for said, found in places.items()]


def _linked(sentence: str, revoke: str | None) -> str:
    """Escape a sentence but for the address that the rule gives."""
    before, address, after = sentence.partition(revoke) if revoke else (sentence, "", "")
    link = f"<{address}>" if re.fullmatch(r"https?://[^\s<>]+", address) else escaped(address)
    return escaped(printable(before)) + (link if address else "") + escaped(printable(after))


def _listed(found: Sequence[str]) -> str:
    unique = list(dict.fromkeys(found))
    return ", ".join(unique[:3]) + (f" and {len(unique) - 3} more" if len(unique) > 3 else "")


def _not_read(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    if audit.skipped:
        lines = [
            f"- {code(printable(item.path or 'image'))}: {escaped(printable(item.reason))}" for item in audit.skipped
        ]
        yield f"Not read: {plural(len(audit.skipped), 'item')}", lines
