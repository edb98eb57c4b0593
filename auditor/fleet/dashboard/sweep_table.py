"""A sweep as a table for the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from auditor.core.finding import Severity
from auditor.core.text import plural, printable, shortened, size
from auditor.findings.secret_groups import Verdict
from auditor.fleet.remediation.locations import acknowledgement_text
from auditor.fleet.remediation.open_secrets import OpenSecret, acknowledged_secrets
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import image_list, queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import ImageRow, SharedSecret, SweepRow, WithdrawnRow, audited_part, verdict_of

_STYLES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}
_MAX_SHOWN = 20
PULLABLE = {True: "can still be pulled", False: "deleted", None: "may still be pulled: the registry did not answer"}
"""Texts for the states of a withdrawn image."""


def render(store: SweepStore, sweep: SweepRow, policy: Policy, *, width: int = 80, color: bool = False) -> str:
    """Return a sweep as text of at most `width` columns: images with findings, withdrawn images, failures."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    for part in store.read(lambda _: _parts(store, sweep, policy)):
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(store: SweepStore, sweep: SweepRow, policy: Policy) -> list[RenderableType]:
    counts = sweep.counts
    images = [row for row in image_list.each_image(store, sweep) if row.by_severity or row.gone or row.skipped]
    rows = [row for row in images if row.by_severity or row.gone]
    heading = Text(printable(sweep.registry), style="bold")
    heading.append(
        f"  {plural(counts['images'], 'image')}, {_repositories(counts['repositories'])}, "
        f"{plural(counts['layers_unique'], 'layer')} ({counts['layers_read']} read, {size(counts['bytes_read'])})",
        style="dim",
    )
    parts: list[RenderableType] = [heading]
    if sweep.filter_text:
        parts.append(Text(f"filtered: {printable(sweep.filter_text)}", style="dim"))
    if rows:
        parts.append(_images(rows))
    findings, withdrawn = queries.findings(store, sweep.id), image_list.withdrawn(store, sweep.id)
    acknowledged = acknowledged_secrets(store, sweep, policy)
    pullable = [*images, *(row.image for row in withdrawn if not row.is_deleted)]
    parts += _section("Secrets in several images", [_shared(one) for one in queries.shared_secrets(findings)])
    parts += _section("Acknowledged", [_acknowledged(one) for one in acknowledged])
    parts += _section(
        "Withdrawn: images without a tag", [_withdrawn(row) for row in withdrawn if row.image.by_severity]
    )
    parts += _section(
        "Not read in full: `image-audit scan IMAGE` gives the reasons",
        [f"{printable(_name(row))}: {plural(row.skipped, 'item')} skipped" for row in pullable if row.skipped],
        "bold yellow",
    )
    parts += _section(
        "Not audited",
        [f"{printable(name)}: {shortened(printable(why), 300)}" for name, why in queries.failures(store, sweep.id)],
        "bold yellow",
    )
    held = sum(one.is_acknowledged for one in acknowledged)
    parts.append(_summary(sweep, verdict_of(findings), held))
    return parts


def _repositories(count: int) -> str:
    return "1 repository" if count == 1 else f"{count} repositories"


def _images(rows: list[ImageRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("IMAGE", overflow="fold")
    table.add_column("PLATFORM", no_wrap=True)
    for title in ("CRIT", "HIGH", "MED", "LOW", "NEW", "GONE"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        counted = [_number(row.by_severity.get(severity, 0), _STYLES[severity]) for severity in Severity]
        table.add_row(
            Text(printable(_name(row))),
            Text(printable(row.platform or "-")),
            *counted,
            _number(row.new, "bold"),
            _number(row.gone, ""),
        )
    return table


def _name(row: ImageRow) -> str:
    if not row.tags:
        return f"{row.repository}@{row.digest[:19]}"
    more = f" +{len(row.tags) - 1}" if len(row.tags) > 1 else ""
    return f"{row.repository}:{row.tags[0]}{more}"


def _number(count: int, style: str) -> Text:
    return Text(str(count), style=style) if count else Text("-", style="dim")


def _shared(secret: SharedSecret) -> Text:
    where = f"  in {len(secret.images)} images, first seen {secret.first_seen[:10]}"
    return Text.assemble(f"{secret.rule}  {printable(secret.masked)}", (where, "dim"))


def _acknowledged(secret: OpenSecret) -> Text:
    status = "" if secret.status is None else f"  {printable(acknowledgement_text(secret.status))}"
    return Text.assemble(f"{secret.worst.rule}  {printable(secret.worst.masked)}", (status, "dim"))


def _withdrawn(row: WithdrawnRow) -> str:
    tags = f" (was {printable(', '.join(row.tags[:3]))})" if row.tags else ""
    counts = ", ".join(f"{number} {severity}" for severity, number in row.image.by_severity.items())
    return f"{printable(row.image.repository)}@{row.image.digest}{tags}: {counts}; {PULLABLE[row.pullable]}"


def _section(heading: str, entries: Sequence[str | Text], style: str = "bold") -> list[RenderableType]:
    """Return a heading and the first entries, nothing without entries."""
    if not entries:
        return []
    lines = Text(f"\n{heading}", style=style)
    for entry in entries[:_MAX_SHOWN]:
        lines.append(Text.assemble("\n  ", entry, style="not bold default"))
    if len(entries) > _MAX_SHOWN:
        lines.append(f"\n  and {len(entries) - _MAX_SHOWN} more", style="not bold dim")
    return [lines]


def _summary(sweep: SweepRow, verdict: Verdict, acknowledged: int) -> Text:
    counts = sweep.counts
    if sweep.nothing_audited and not counts["withdrawn"]:
        return Text("\nnothing was audited", style="bold")
    where = audited_part(partial=bool(counts["partial"]), failed=bool(counts["failed"]))
    text = Text(f"\nLEAKS: {verdict.text}" if verdict.leaks else f"\nno secrets found{where}", style="bold")
    text.append(f"; {counts['new']} new, {counts['gone']} gone since the last sweep", style="not bold")
    if acknowledged:
        text.append(f"; {plural(acknowledged, 'acknowledged secret')}", style="not bold")
    if counts["withdrawn"]:
        text.append(f"; {plural(counts['withdrawn'], 'withdrawn image')} not deleted", style="not bold")
    if counts["partial"]:
        text.append(f"; {plural(counts['partial'], 'image')} not read in full", style="not bold")
    return text
