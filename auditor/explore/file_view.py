"""Widget for a file tree. A folder is read when it is opened."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from auditor.explore.texts import file_label, folder_label
from auditor.findings.file_tree import FileNode, FileTree, FolderNode, Node
from auditor.report.file_text import totals_text

_MOST_NODES = 500
"""Nodes of one folder."""
_MOST_OPENED = 40
"""Folders that are opened without the user."""


class FileView(Tree[Node]):
    """File tree of a layer or of the image. Folders with secrets, and those of a filtered tree, are open at first."""

    def __init__(self) -> None:
        super().__init__("/", id="files")
        self._files: FileTree | None = None
        self.guide_depth = 2

    @property
    def selected_file(self) -> FileNode | None:
        """The file under the cursor."""
        node = self.cursor_node.data if self.cursor_node else None
        return node if isinstance(node, FileNode) else None

    def show(self, tree: FileTree, *, opened: bool) -> None:
        """Show a tree; with `opened` open all folders as far as they fit, else those with secrets."""
        self._files = tree
        self.reset(Text("/ ").append(totals_text(tree.totals), style="dim"))
        waiting, left = [self.root], _MOST_OPENED
        while waiting and left:
            node = waiting.pop(0)
            self._load(node)
            node.expand()
            left -= 1
            waiting += [child for child in node.children if self._opens_itself(child.data, opened)]
        self.cursor_line = 0

    @staticmethod
    def _opens_itself(node: Node | None, opened: bool) -> bool:
        return isinstance(node, FolderNode) and (opened or bool(node.totals.secrets))

    def _load(self, node: TreeNode[Node]) -> None:
        """Add the content of a folder, once."""
        if self._files is None or node.children or isinstance(node.data, FileNode):
            return
        children = self._files.children(node.data.path if node.data else "", _MOST_NODES)
        for child in children.nodes:
            if isinstance(child, FolderNode):
                node.add(folder_label(child), child)
            else:
                node.add_leaf(file_label(child, self._files.layer), child)
        if children.omitted:
            node.add_leaf(Text(f"{children.omitted:,} more. Press / to filter", style="dim"))

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Node]) -> None:
        """Read a folder when it is opened."""
        self._load(event.node)
