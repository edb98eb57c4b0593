"""Texts of file trees, which the HTML report and `explore` share."""

from __future__ import annotations

from auditor.core.text import plural, size
from auditor.findings.file_tree import FileNode, Totals
from auditor.layers.layer_changes import Change


def fate_text(node: FileNode, layer: int | None) -> str:
    """Return the further history of a file in the tree of a layer, or of the image if `layer` is None.

    Empty for a file that the layer adds and no other hides.
    """
    hidden = f"{node.state} in layer {node.hidden_in}, still recoverable"
    if layer is None:
        origin = f"layer {node.version.layer}"
        return origin if node.hidden_in is None else f"{origin}, {hidden}"
    if node.version.layer != layer:
        return f"still recoverable from layer {node.version.layer}"
    if node.hidden_in is None:
        return ""
    return "overwritten by a later entry of this layer, still recoverable" if node.hidden_in == layer else hidden


def totals_text(totals: Totals) -> str:
    """Return the sums of a folder: files by change, size, hidden bytes."""
    counts = ", ".join(f"{totals.counts[change]:,} {change}" for change in Change if totals.counts[change])
    parts = [counts or "0 files"]
    if totals.bytes or not totals.deleted_bytes:
        parts.append(size(totals.bytes))
    if totals.hidden_bytes:
        share = "all" if totals.hidden_bytes == totals.bytes else f"{size(totals.hidden_bytes)} of it"
        parts.append(f"{share} hidden")
    if totals.deleted_bytes:
        parts.append(f"{size(totals.deleted_bytes)} hidden in lower layers")
    return ", ".join(parts)


def secrets_text(totals: Totals) -> str:
    """Return the number of secrets of a folder, empty for none."""
    return plural(len(totals.secrets), "secret") if totals.secrets else ""
