"""Build history of an image with the entries that each layer adds, overwrites and deletes, and its hidden bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from auditor.core.text import instruction, printable, shortened, size
from auditor.pipeline import Audit
from auditor.report.json_report import image_object
from auditor.report.terminal import printed

SCHEMA = "image-audit-history/1"


def render_json(audits: Sequence[Audit]) -> str:
    """Return the `image` objects of the JSON report, without findings."""
    return json.dumps({"schema": SCHEMA, "images": [image_object(audit) for audit in audits]}, indent=2) + "\n"


def render(audits: Sequence[Audit], *, width: int = 80, color: bool = False) -> str:
    """Return one table an image, newest step first as in `docker history`."""
    parts = (part for audit in audits for part in (_heading(audit), _table(audit)))
    return printed(parts, width=width, color=color)


def _heading(audit: Audit) -> Text:
    platform = f"  {audit.image.config.platform}" if audit.image.config.platform else ""
    return Text(printable(audit.image.target + platform), style="bold")


def _table(audit: Audit) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True)
    for name in ("LAYER", "SIZE", "ADDED", "OVERWR.", "DELETED", "HIDDEN"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("INSTRUCTION", ratio=1, overflow="fold")
    rows = list(zip(audit.history, audit.step_layers, strict=True))
    known = {layer for _, layer in rows if layer is not None}
    for layer in reversed(range(len(audit.records))):
        if layer not in known:
            table.add_row(*_numbers(audit, layer), "unknown: history and layers do not match")
    for step, made in reversed(rows):
        numbers = ["", "0 B", "", "", "", ""] if made is None else _numbers(audit, made)
        text = shortened(printable(instruction(step.created_by)), audit.limits.line_shown)
        if step.comment and step.comment != "buildkit.dockerfile.v0":
            text = f"{text} ({printable(step.comment)})".strip()
        table.add_row(*numbers, text)
    return table


def _numbers(audit: Audit, layer: int) -> list[str]:
    stats = audit.stats[layer]
    return [
        str(layer),
        size(audit.records[layer].uncompressed),
        str(stats.added),
        str(stats.overwritten),
        str(stats.deleted),
        size(stats.hidden_bytes),
    ]
