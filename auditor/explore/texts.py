"""Texts of the terminal view. Texts of an image are masked and safe to print."""

from __future__ import annotations

from collections.abc import Collection

from rich.text import Text

from auditor.core.finding import Finding
from auditor.core.text import plural, printable, size
from auditor.findings.file_tree import FileNode, FolderNode
from auditor.findings.secret_groups import SecretGroup
from auditor.layers.layer_changes import Change
from auditor.pipeline import Audit
from auditor.report.file_text import fate_text, secrets_text, totals_text
from auditor.report.finding_text import history_lines, location_text, secret_text, step_text

MARKS = {
    Change.ADDED: ("+", "green"),
    Change.OVERWRITTEN: ("~", "yellow"),
    Change.DELETED: ("-", "red"),
    Change.PRESENT: (" ", ""),
}
"""Mark and colour of a change."""
_COUNT = "bold white on dark_red"
_SEVERITIES = {"critical": "bold red", "high": "dark_orange", "medium": "yellow", "low": "cyan"}


def layer_text(audit: Audit, layer: int | None) -> Text:
    """Return two lines for the list of layers: number, size, secrets; then the instruction. None is the image."""
    text = Text()
    if layer is None:
        text.append("Image", "bold").append(f"  {size(sum(record.uncompressed for record in audit.records))}")
        secrets = len(audit.secrets)
    else:
        text.append(f"{layer:>3}", "bold").append(f"  {size(audit.records[layer].uncompressed)}")
        secrets = len({finding.secret_id for finding in audit.findings if layer in layers_of(finding)})
        if audit.base and layer < audit.base.layers:
            text.append("  base", "dim")
    if secrets:
        text.append("  ").append(f" {plural(secrets, 'secret')} ", _COUNT)
    return text.append("\n" + _instruction(audit, layer), "dim")


def layer_details(audit: Audit, layer: int | None) -> Text:
    """Return the whole instruction of a layer, and what a key does. None is the image."""
    text = Text("" if layer is None else f"{_instruction(audit, layer)}\n")
    return text.append("Enter shows the content of a file, secrets masked.", "dim")


def _instruction(audit: Audit, layer: int | None) -> str:
    step = None if layer is None else audit.step_of(layer)
    instruction = step_text(step.created_by, audit.limits) if step else ""
    return "all layers" if layer is None else instruction or "unknown step"


def layers_of(finding: Finding) -> Collection[int]:
    """Return the layers that hold a finding; none for the metadata of the image."""
    return {version.layer for version in finding.held_by}


def folder_label(node: FolderNode) -> Text:
    """Return the line of a folder: name, secrets, sums."""
    text = Text(f"{printable(node.name)}/ ")
    if node.totals.secrets:
        text.append(f" {secrets_text(node.totals)} ", _COUNT).append(" ")
    return text.append(totals_text(node.totals), "dim")


def file_label(node: FileNode, layer: int | None) -> Text:
    """Return the line of a file: mark, name, secrets, size, further history."""
    mark, style = MARKS[node.change]
    text = Text().append(f"{mark} {printable(node.name)} ", style)
    if node.findings:
        secrets = len({finding.secret_id for finding in node.findings})
        text.append(f" {plural(secrets, 'secret')} ", _COUNT).append(" ")
    return text.append(_size_and_fate(node, layer), "dim")


def _size_and_fate(node: FileNode, layer: int | None) -> str:
    return ", ".join(filter(None, (size(node.size), fate_text(node, layer))))


def file_details(node: FileNode, layer: int | None) -> Text:
    """Return the lines above the preview of a file: path, change, size, history, secrets."""
    text = Text().append(printable(node.path), "bold")
    text.append(f"\n{'' if layer is None else f'{node.change}, '}{_size_and_fate(node, layer)}")
    for finding in node.findings:
        text.append("\n").append(str(finding.severity), _SEVERITIES[finding.severity])
        member = f" in {printable(finding.member)}" if finding.member else ""
        line = f", line {finding.line}" if finding.line else ""
        text.append(f" {printable(finding.name)} {secret_text(finding, False)}{member}{line}")
    return text


def place_in(group: SecretGroup, layer: int | None) -> Finding:
    """Return the most urgent place of a secret in a layer; None is the image."""
    return next((finding for finding in group.findings if layer in layers_of(finding)), group.first)


def secret_label(group: SecretGroup, layer: int | None) -> Text:
    """Return two lines for the list of secrets: severity, kind and mask; a place in the layer."""
    text = Text().append(str(group.severity), _SEVERITIES[group.severity])
    text.append(f" {printable(group.first.name)} {secret_text(group.first, False)}")
    more = f" and {plural(len(group.findings) - 1, 'other place')}" if len(group.findings) > 1 else ""
    return text.append(f"\n  {location_text(place_in(group, layer))}{more}", "dim")


def secret_details(audit: Audit, group: SecretGroup) -> Text:
    """Return each place of a secret with its history, and the remedies."""
    text = Text()
    for finding in group.findings:
        text.append(location_text(finding), "bold").append(f"  {finding.state}\n")
        for line in history_lines(finding, audit.limits):
            text.append(f"  {line}\n", "dim")
    for advice in group.first.advice:
        text.append(f"{printable(advice)}\n")
    return text
