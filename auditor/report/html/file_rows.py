"""File tree of a layer in the HTML page: a limited number of rows, folders with secrets and large ones first."""

from __future__ import annotations

import heapq

from auditor.core.dataclass import dataclass
from auditor.findings.file_tree import Children, FileNode, FileTree, FolderNode, Totals
from auditor.pipeline import Audit
from auditor.report.file_text import fate_text

_ROWS_IMAGE, _LEAST_ROWS, _MOST_ROWS = 800, 10, 60
"""Rows of an image, shared by its layers; the least and the most of a layer."""
_MOST_SECRETS = 150
"""Further rows of a layer, one for each secret."""
_ROWS_FOLDER = 10
_MOST_DEPTH = 16


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file. `fate` is its further history; `secrets` are the anchors and names of its findings."""

    node: FileNode
    fate: str
    secrets: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FolderRow:
    """A folder with some of its content; `rows` is None for a folder that the page does not open."""

    node: FolderNode
    rows: tuple[Row, ...] | None
    omitted: int


Row = FileRow | FolderRow


@dataclass(frozen=True, slots=True)
class LayerFiles:
    """File tree of one layer. `omitted` items of the root are left out."""

    totals: Totals
    rows: tuple[Row, ...]
    omitted: int


def layer_files(audit: Audit, anchors: dict[str, str]) -> list[LayerFiles]:
    """Return the file tree of every layer. `anchors` are those of the findings, by their id."""
    trees, count = audit.file_trees(), len(audit.records)
    share = max(_LEAST_ROWS, min(_MOST_ROWS, _ROWS_IMAGE // max(count, 1)))
    return [_layer_files(trees.layer(number), share, anchors) for number in range(count)]


def _layer_files(tree: FileTree, share: int, anchors: dict[str, str]) -> LayerFiles:
    content = _chosen(tree, share + min(len(tree.totals.secrets), _MOST_SECRETS))

    def rows(folder: str) -> tuple[Row, ...]:
        return tuple(row(node) for node in content[folder].nodes)

    def row(node: FolderNode | FileNode) -> Row:
        if isinstance(node, FileNode):
            secrets = tuple((anchors[finding.id], finding.name) for finding in node.findings)
            return FileRow(node, fate_text(node, tree.layer), secrets)
        shown = content.get(node.path)
        return FolderRow(node, rows(node.path) if shown else None, shown.omitted if shown else 0)

    return LayerFiles(tree.totals, rows(""), content[""].omitted)


def _chosen(tree: FileTree, budget: int) -> dict[str, Children]:
    """Return the folders to open with the rows to show: those with secrets first, then the largest."""
    content: dict[str, Children] = {}
    waiting = [(False, 0, "", 0, tree.totals)]
    while waiting and budget > 0:
        *_, folder, depth, totals = heapq.heappop(waiting)
        content[folder] = children = tree.children(folder, min(budget, max(_ROWS_FOLDER, len(totals.secrets))))
        budget -= len(children.nodes)
        for node in children.nodes:
            if isinstance(node, FolderNode) and depth < _MOST_DEPTH:
                weight = node.totals.bytes + node.totals.deleted_bytes
                heapq.heappush(waiting, (not node.totals.secrets, -weight, node.path, depth + 1, node.totals))
    return content
